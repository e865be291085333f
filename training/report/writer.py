"""The report of a run while it trains: status lines, `stats.jsonl`, TensorBoard, alarms, the page, the progress bar."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from system.text import harmless
from torch_utils.journal import Log, StatsFile
from torch_utils.stats import Moments
from training.courses import signs_of
from training.report import history, page
from training.report.alarms import Alarms
from training.report.status import status_line
from training.report.wandb import Wandb
from training.signs import Alarm, Config


class Report:
    """Writes into a run folder and prints on the terminal.

    Args:
        folder: the run folder; None (on ranks other than 0) writes and prints nothing.
        seen: images that a resumed run has seen; what was written after them is dropped.
        config: of the run, nested, as in `config.json`.
        wandb: a run of Weights & Biases that shows the same.
    """

    def __init__(
        self, folder: Path | None, seen: int = 0, config: Config | None = None, wandb: Wandb | None = None
    ) -> None:
        self.folder, self.wandb = folder, wandb
        self.signs = signs_of(config or {})
        self.bar: tqdm | None = None
        self.tick_began = time.monotonic()
        self.seen_at_tick = seen
        self._failed: set[str] = set()
        if folder is None:
            return
        self.log = Log(folder / "log.txt")
        self.stats = StatsFile(folder / history.STATS)
        self.alarms = Alarms(self.signs, config or {})
        if seen:
            self.stats.rewind(seen)
            for record in self.stats.read() if self.stats.path.exists() else ():
                self.alarms.feed(record)
        self.events = SummaryWriter(str(folder), purge_step=seen + 1 if seen else None)

    def say(self, text: str = "") -> None:
        """Print a line above the progress bar, and write it to `log.txt`."""
        if self.folder is not None:
            with tqdm.external_write_mode(file=sys.stdout):
                self.log(text)

    def keep(self, text: str) -> None:
        """Write a line to `log.txt` only."""
        if self.folder is not None:
            self.log.keep(text)

    def begin(self, texts: Mapping[str, str]) -> None:
        """Show texts in TensorBoard, by name; warn of settings that look wrong before a new run begins."""
        if self.folder is None:
            return
        for name, text in texts.items():
            # TensorBoard reads Markdown, which leaves indented lines as they are
            lines = "\n".join(f"    {line}" for line in harmless(text).splitlines())
            self._show(partial(self.events.add_text, name, lines, self.seen_at_tick))
            self._log(partial(Wandb.text, name=name, text=text))
        if not self.seen_at_tick:
            self._warn(self.alarms.raised, 0)

    def show_progress(self, seen: int, end: int) -> None:
        """Move the progress bar, if there is a terminal for it."""
        if self.folder is None or not sys.stderr.isatty():
            return
        if self.bar is None:
            self.bar = tqdm(total=end, initial=seen, unit="img", unit_scale=True, dynamic_ncols=True)
        else:
            self.bar.update(seen - self.bar.n)

    def tick(
        self,
        seen: int,
        end: int,
        moments: Mapping[str, Moments],
        timings: Mapping[str, float],
        facts: Mapping[str, float],
    ) -> None:
        """Write a status line, a line of `stats.jsonl`, and a point of every curve.

        Args:
            seen: images so far.
            end: images at the end of training.
            moments: statistics since the last tick. Those without values, such as an empty noise level, are left out.
            timings: mean seconds of the parts of a step.
            facts: other numbers: learning rates, steps skipped, bytes of memory, seconds in all.
        """
        if self.folder is None:
            return
        now = time.monotonic()
        speed = max((seen - self.seen_at_tick) / max(now - self.tick_began, 1e-9), 1e-9)
        self.tick_began, self.seen_at_tick = now, seen
        moments = {name: m for name, m in moments.items() if m.count or m.nonfinite}
        numbers = {**facts, **{f"timing/{name}": seconds for name, seconds in timings.items()}}
        numbers |= {"timing/images per second": speed, "timing/seconds per kimg": 1000 / speed}
        self.say(status_line(seen, end, speed, moments, facts, self.signs.shown))
        record: dict[str, float | dict[str, float]] = {**numbers}
        record |= {name: {"mean": m.mean, "std": m.std, "count": m.count} for name, m in moments.items()}
        self.stats.append(seen, record)
        self.scalars(numbers | {name: m.mean for name, m in moments.items()}, seen)
        self._warn(self.alarms.feed({"seen": seen} | record), seen)

    def snapshot(self, path: Path | None, seen: int, measures: Mapping[str, float]) -> None:
        """Show the sample sheet if there is one, and add what was measured to the statistics of the tick."""
        if self.folder is None:
            return
        if path is not None:
            self.picture(path.name.partition("-")[0], path, seen)
        if measures:
            self.stats.amend(seen, measures)
            self.scalars(measures, seen)
            self._warn(self.alarms.feed({"seen": seen, **measures}), seen)

    def scalars(self, values: Mapping[str, float], seen: int) -> None:
        """Add a point to each of several curves in TensorBoard."""

        def add() -> None:
            for name, value in values.items():
                self.events.add_scalar(name, value, seen)
            self.events.flush()

        self._show(add)
        self._log(partial(Wandb.scalars, values=values, seen=seen))

    def picture(self, name: str, path: Path, seen: int) -> None:
        """Show a picture file in TensorBoard: its bytes as they are, since encoding them anew takes long."""

        def add() -> None:
            assert self.events.file_writer is not None  # until `close`
            with Image.open(path) as image:
                size = {"width": image.width, "height": image.height, "colorspace": len(image.getbands())}
            shown = Summary.Image(encoded_image_string=path.read_bytes(), **size)
            self.events.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=shown)]), seen)

        self._show(add)
        self._log(partial(Wandb.picture, name=name, path=path, seen=seen))

    def page(self, state: str) -> None:
        """Write `report.html`."""
        folder = self.folder
        if folder is not None:
            self._attempt(page.NAME, lambda: page.write(folder, state))

    def close(self) -> None:
        """Close the bar, TensorBoard's file and the log."""
        if self.bar is not None:
            self.bar.close()
        self._show(lambda: self.events.close())
        self._log(Wandb.close)
        if self.folder is not None:
            self.log.close()

    def _show(self, act: Callable[[], object]) -> None:
        self._attempt("TensorBoard", act)

    def _log(self, act: Callable[[Wandb], object]) -> None:
        if self.wandb is not None:
            self._attempt("wandb", partial(act, self.wandb))

    def _attempt(self, name: str, act: Callable[[], object]) -> None:
        """Do something that is not worth a run: after its first failure training continues without it."""
        if self.folder is None or name in self._failed:
            return
        try:
            act()
        except Exception as error:
            self._failed.add(name)
            self.say(f"{name} failed ({type(error).__name__}: {error}): training continues without it")

    def _warn(self, alarms: Sequence[Alarm], seen: int) -> None:
        for alarm in alarms:
            if alarm.until is not None:
                self.say(f"alarm over: {alarm.kind}")
                continue
            text = f"{alarm.text}; {alarm.advice}"
            self.say(f"alarm: {alarm.kind}: {text}")
            self._show(partial(self.events.add_text, "alarms", f"**{alarm.kind}**: {text}", seen))
            self._log(partial(Wandb.alarm, kind=alarm.kind, text=text, seen=seen))
