"""The report of a run while it trains: status lines, `stats.jsonl`, boards, alarms, the page, the progress bar."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from system.text import harmless
from torch_utils.journal import Log, StatsFile
from torch_utils.stats import Moments
from training.report import history, page
from training.report.alarms import Alarms
from training.report.boards import Board, TensorBoard
from training.report.settings import signs_of
from training.report.status import status_line
from training.signs import Alarm, Config


class Report:
    """Writes into a run folder and prints on the terminal.

    Args:
        folder: the run folder; None (on ranks other than 0) writes and prints nothing.
        seen: images that a resumed run has seen; what was written after them is dropped.
        config: of the run, nested, as in `config.json`.
        boards: boards besides TensorBoard, by name.
    """

    def __init__(
        self,
        folder: Path | None,
        seen: int = 0,
        config: Config | None = None,
        boards: Mapping[str, Board] | None = None,
    ) -> None:
        self.folder = folder
        self.signs = signs_of(config or {})
        self.bar: tqdm | None = None
        self.tick_began = time.monotonic()
        self.seen_at_tick = seen
        self.boards: dict[str, Board] = {}
        self._page_failed = False
        if folder is None:
            return
        self.log = Log(folder / "log.txt")
        self.stats = StatsFile(folder / history.STATS)
        self.alarms = Alarms(self.signs, config or {})
        if seen:
            self.stats.rewind(seen)
            for record in self.stats.read() if self.stats.path.exists() else ():
                self.alarms.feed(record)
        try:
            self.boards["TensorBoard"] = TensorBoard(folder, seen)
        except UnicodeError:
            self.say("TensorBoard needs a folder whose name is UTF-8: training continues without it")
        self.boards |= boards or {}

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
        """Show texts on the boards, by name; warn of what is known before a new run begins."""
        plain = {name: harmless(text) for name, text in texts.items()}

        def show(board: Board) -> None:
            for name, text in plain.items():
                board.text(name, text, self.seen_at_tick)

        self._show(show)
        if self.folder is not None and not self.seen_at_tick:
            self._warn(self.alarms.open, 0)

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
        speed = (seen - self.seen_at_tick) / max(now - self.tick_began, 1e-9)
        self.tick_began, self.seen_at_tick = now, seen
        moments = {name: m for name, m in moments.items() if m.count or m.nonfinite}
        numbers = {**facts, **{f"timing/{name}": seconds for name, seconds in timings.items()}}
        numbers |= {"timing/images per second": speed, "timing/seconds per kimg": 1000 / max(speed, 1e-9)}
        self.say(status_line(seen, end, speed, moments, facts, self.signs.shown))
        record: dict[str, float | dict[str, float]] = {**numbers}
        record |= {name: {"mean": m.mean, "std": m.std, "count": m.count} for name, m in moments.items()}
        self.stats.append(seen, record)
        self._show(lambda board: board.scalars(numbers | {name: m.mean for name, m in moments.items()}, seen))
        self._warn(self.alarms.feed({"seen": seen} | record), seen)

    def snapshot(self, path: Path, seen: int, measures: Mapping[str, float]) -> None:
        """Show a sample sheet, and add what was measured on it to the statistics of the tick."""
        if self.folder is None:
            return
        self.picture(path.name.partition("-")[0], path, seen)
        if measures:
            self.stats.amend(seen, measures)
            self._show(lambda board: board.scalars(measures, seen))
            self._warn(self.alarms.feed({"seen": seen, **measures}), seen)

    def scalar(self, name: str, value: float, seen: int) -> None:
        """Add a point to one curve, such as that of a metric."""
        self._show(lambda board: board.scalars({name: value}, seen))

    def picture(self, name: str, path: Path, seen: int) -> None:
        """Show a picture file on the boards."""
        self._show(lambda board: board.picture(name, path, seen))

    def page(self, state: str) -> None:
        """Write `report.html`. If that fails, training continues."""
        if self.folder is None:
            return
        try:
            page.write(self.folder, state)
        except Exception as error:  # a page is not worth a run
            if not self._page_failed:
                self.say(
                    f"{page.NAME} cannot be written ({type(error).__name__}: {error}): training continues without it"
                )
            self._page_failed = True

    def close(self) -> None:
        """Close the bar, the boards and the log."""
        if self.bar is not None:
            self.bar.close()
        self._show(lambda board: board.close())
        if self.folder is not None:
            self.log.close()

    def _show(self, act: Callable[[Board], None]) -> None:
        """Do something with every board. A board that fails is dropped: training continues without it."""
        for name, board in list(self.boards.items()):
            try:
                act(board)
            except Exception as error:  # a board is not worth a run
                del self.boards[name]
                self.say(f"{name} failed ({type(error).__name__}: {error}): training continues without it")

    def _warn(self, alarms: Sequence[Alarm], seen: int) -> None:
        for alarm in alarms:
            if alarm.until is None:
                self._raise(alarm.kind, f"{alarm.text}; {alarm.advice}", seen)
            else:
                self.say(f"alarm over: {alarm.kind}")

    def _raise(self, kind: str, text: str, seen: int) -> None:
        self.say(f"alarm: {kind}: {text}")
        self._show(lambda board: board.alarm(kind, text, seen))
