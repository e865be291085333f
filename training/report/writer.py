"""A run folder as training writes it: status lines, `stats.jsonl`, boards, alarms, the page, the progress bar."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from system.text import harmless
from torch_utils.journal import Log, StatsFile
from torch_utils.stats import Moments
from training.report import history, page
from training.report.alarms import Alarm, Alarms
from training.report.boards import Board, Spare, TensorBoard
from training.report.status import status_line


class Report:
    """Writes into a run folder and speaks on the terminal; on processes other than the first it does neither.

    Args:
        folder: the run folder; None writes nothing.
        seen: images that a resumed run has seen; what was written after them is dropped.
        config: of the run, nested, as in `config.json`.
        boards: others than TensorBoard, by name; the run does not depend on them.
    """

    def __init__(
        self,
        folder: Path | None,
        seen: int = 0,
        config: Mapping[str, Any] | None = None,
        boards: Mapping[str, Board] | None = None,
    ) -> None:
        self.folder = folder
        self.bar: tqdm | None = None
        self.tick_began = time.monotonic()
        self.seen_at_tick = seen
        self._page_failed = False
        self.boards: list[Board] = []
        if folder is None:
            return
        self.log = Log(folder / "log.txt")
        self.stats = StatsFile(folder / history.STATS)
        self.alarms = Alarms(config)
        if seen:
            self.stats.rewind(seen)
            for record in self.stats.read() if self.stats.path.exists() else ():
                self.alarms.feed(record)
        try:
            self.boards.append(TensorBoard(folder, seen))
        except UnicodeError:
            self.say("the folder has a name that is not UTF-8, as TensorBoard needs it: training goes on without it")
        self.boards += [Spare(board, name, self.say) for name, board in (boards or {}).items()]

    def say(self, text: str = "") -> None:
        """A line on the terminal, above the progress bar, and in `log.txt`."""
        if self.folder is not None:
            with tqdm.external_write_mode(file=sys.stdout):
                self.log(text)

    def keep(self, text: str) -> None:
        """A line for `log.txt` alone."""
        if self.folder is not None:
            self.log.keep(text)

    def begin(self, texts: Mapping[str, str]) -> None:
        """Gives the boards what there is to read, by name; warns of what is known before a new run begins.

        What no text file could hold, such as a byte of a file name that is not UTF-8, is spelled out.
        """
        if self.folder is None:
            return
        for board in self.boards:
            for name, text in texts.items():
                board.text(name, harmless(text), self.seen_at_tick)
        if not self.seen_at_tick:
            self._warn(self.alarms.open, 0)

    def show_progress(self, seen: int, end: int) -> None:
        """Moves the progress bar, where there is a terminal to draw it on."""
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
        """One status line, one line of `stats.jsonl`, one point of every curve.

        Args:
            seen: images so far.
            end: images at the end of training.
            moments: statistics since the last tick.
            timings: mean seconds of the parts of a step.
            facts: other numbers: learning rates, steps skipped, bytes of memory, seconds in all.
        """
        if self.folder is None:
            return
        now = time.monotonic()
        speed = (seen - self.seen_at_tick) / max(now - self.tick_began, 1e-9)
        self.tick_began, self.seen_at_tick = now, seen
        timing = {f"timing/{name}": seconds for name, seconds in timings.items()}
        timing |= {"timing/images per second": speed, "timing/seconds per kimg": 1000 / max(speed, 1e-9)}
        self.say(status_line(seen, end, speed, moments, facts))
        record: dict[str, float | dict[str, float]] = {**facts, **timing}
        record |= {name: {"mean": m.mean, "std": m.std, "count": m.count} for name, m in moments.items()}
        self.stats.append(seen, record)
        scalars = {**timing, **facts, **{name: m.mean for name, m in moments.items()}}
        for board in self.boards:
            board.scalars(scalars, seen)
        self._warn(self.alarms.feed({"seen": seen} | record), seen)

    def snapshot(self, path: Path, seen: int, measures: Mapping[str, float]) -> None:
        """The sample sheet of a moment, and what was measured on it, which joins the statistics of the tick."""
        if self.folder is None:
            return
        for board in self.boards:
            board.picture("fakes", path, seen)
        if measures:
            self.stats.amend(seen, measures)
            for board in self.boards:
                board.scalars(measures, seen)
            self._warn(self.alarms.feed({"seen": seen, **measures}), seen)

    def scalar(self, name: str, value: float, seen: int) -> None:
        """A point of a curve of its own, such as a metric's."""
        for board in self.boards:
            board.scalars({name: value}, seen)

    def picture(self, name: str, path: Path, seen: int) -> None:
        """A picture file for the boards."""
        if self.folder is not None:
            for board in self.boards:
                board.picture(name, path, seen)

    def page(self, state: str) -> None:
        """Writes `report.html`. If that fails, training goes on."""
        if self.folder is None:
            return
        try:
            page.write(self.folder, state)
        except Exception as error:  # whatever it is: a page is not worth a run
            if not self._page_failed:
                self.say(
                    f"{page.NAME} cannot be written ({type(error).__name__}: {error}): training goes on without it"
                )
            self._page_failed = True

    def _warn(self, alarms: Sequence[Alarm], seen: int) -> None:
        for alarm in alarms:
            if alarm.until is not None:
                self.say(f"alarm over: {alarm.kind}")
                continue
            self.say(f"alarm: {alarm.sentence}")
            for board in self.boards:
                board.alarm(alarm.kind, f"{alarm.text}; {alarm.advice}", seen)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
        if self.folder is not None:
            for board in self.boards:
                board.close()
            self.log.close()
