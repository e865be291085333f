"""The report of a run while it trains: status lines, `stats.jsonl`, boards, alarms, the page, the progress bar."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from torch_utils.runs import Log, StatsFile
from torch_utils.stats import Moments
from training.courses import signs_of
from training.report import page
from training.report.boards import TensorBoard, Wandb
from training.signs import Alarm, Alarms, Config, Means, duration

STEPS, SECONDS = 16, 10.0  # 16 iterations hold every phase in its usual share; slow steps are measured for 10 seconds
SHORT = 60.0  # seconds; a shorter run is not worth a forecast
LONG = 86400.0  # seconds on a CPU after which cheaper ways are named


class Report:
    """Writes into a run folder and prints on the terminal; without a folder (on ranks other than 0) does nothing.

    What was written after the `seen` images of a resumed run is dropped. `wandb` shows the same as the report.
    """

    def __init__(
        self, folder: Path | None, seen: int = 0, config: Config | None = None, wandb: Wandb | None = None
    ) -> None:
        self.folder, self.signs = folder, signs_of(config or {})
        self.tick_began, self.seen_at_tick = time.monotonic(), seen
        self.bar: tqdm | None = None
        self.boards: list[TensorBoard | Wandb] = []
        self._failed: set[str] = set()
        if folder is None:
            return
        self.log = Log(folder / "log.txt")
        self.stats = StatsFile(folder / page.STATS)
        self.alarms = Alarms(self.signs, config or {})
        if seen:
            self.stats.rewind(seen)
            for record in self.stats.read() if self.stats.path.exists() else ():
                self.alarms.feed(record)
        self.boards = [TensorBoard(folder, seen), *([wandb] if wandb is not None else [])]

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
        """Show texts on the boards, by name; warn of settings that look wrong before a new run begins."""
        for name, text in texts.items():
            self._show("text", name, text, self.seen_at_tick)
        if self.folder is not None and not self.seen_at_tick:
            self._warn(self.alarms.raised, 0)

    def show_progress(self, seen: int, end: int) -> None:
        """Move the progress bar, if there is a terminal for it."""
        if self.folder is None or not sys.stderr.isatty():
            return
        if self.bar is None:
            self.bar = tqdm(total=end, initial=seen, unit="img", unit_scale=True, dynamic_ncols=True)
        else:
            self.bar.update(seen - self.bar.n)

    def tick(self, seen: int, end: int, moments: Mapping[str, Moments], timings: Means, facts: Means) -> None:
        """Write a status line, a line of `stats.jsonl`, and a point of every curve, after `seen` of `end` images.

        `moments` are statistics since the last tick; those without values, such as an empty noise level, are left out.
        `timings` are mean seconds of the parts of a step, `facts` other numbers, such as learning rates.
        """
        if self.folder is None:
            return
        now = time.monotonic()
        speed = max((seen - self.seen_at_tick) / max(now - self.tick_began, 1e-9), 1e-9)
        self.tick_began, self.seen_at_tick = now, seen
        moments = {name: m for name, m in moments.items() if m.count or m.nonfinite}
        numbers = {**facts, **{f"timing/{name}": seconds for name, seconds in timings.items()}}
        numbers |= {"timing/images per second": speed, "timing/seconds per kimg": 1000 / speed}
        parts = [
            f"kimg {seen / 1000:<8.{1 if end >= 10_000 else 3}f}",
            f"time {duration(facts['time/seconds']):<11}",
            f"sec/kimg {1000 / speed:<8.2f}",
            f"img/s {speed:<7.1f}",
            f"ETA {duration(max(end - seen, 0) / speed):<11}",
            f"mem {facts['memory/peak bytes'] / 2**30:.1f}G ",
        ]
        shown = self.signs.shown.items()
        parts += [f"{short} {moments[name].mean:<7.3f}" for name, short in shown if name in moments]
        parts += [f"skipped {facts['steps skipped']:.0f}"] if facts["steps skipped"] else []
        self.say(" ".join(parts).rstrip())
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
        """Add a point to each of several curves on the boards."""
        self._show("scalars", values, seen)

    def picture(self, name: str, path: Path, seen: int) -> None:
        """Show a picture file on the boards."""
        self._show("picture", name, path, seen)

    def page(self, state: str) -> None:
        """Write `report.html`."""
        if self.folder is not None:
            self._attempt(page.NAME, partial(page.write, self.folder, state))

    def close(self) -> None:
        """Close the progress bar, the boards and the log."""
        if self.bar is not None:
            self.bar.close()
        self._show("close")
        if self.folder is not None:
            self.log.close()

    def _show(self, method: str, *arguments: Any) -> None:
        for board in self.boards:
            self._attempt(board.name, partial(getattr(board, method), *arguments))

    def _attempt(self, name: str, act: Callable[[], object]) -> None:
        """Do something that is not worth a run: after its first failure training continues without it."""
        if name in self._failed:
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
            self._show("alarm", alarm.kind, text, seen)


class Forecast:
    """Says once how fast the first steps were, when the run will end, and on a slow CPU a `smaller` way to do it."""

    def __init__(self, device: torch.device, smaller: str, say: Callable[[str], None]) -> None:
        self.device, self.smaller, self.say = device, smaller, say
        self._start: tuple[float, int] | None = None  # time and images after the first step, which is slower
        self._steps = 0

    def step(self, seen: int, end: int) -> None:
        """Take note of a step. `seen` counts the images so far, `end` all images of the run."""
        if self._start is None:
            self._start = self._now(), seen
            return
        moment, before = self._start
        self._steps += 1
        if self._steps > STEPS or (self._steps < STEPS and time.monotonic() - moment < SECONDS):
            return
        self._steps = STEPS
        speed = (seen - before) / max(self._now() - moment, 1e-9)
        left = (end - seen) / speed
        if left < SHORT:
            return
        self.say(f"about {duration(left)} to kimg {end / 1000:g}, at {speed:.3g} images a second")
        if self.device.type == "cpu" and left > LONG:
            kimg = float(f"{(seen + speed * LONG) / 1000:.2g}")
            ways = f"a GPU, {self.smaller}, or an earlier end (--kimg {kimg:g} takes a day)"
            self.say(f"a CPU is too slow for this run: stop it with Ctrl-C, and take {ways}")

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.monotonic()
