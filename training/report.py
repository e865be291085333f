"""WHERE things are written: status lines, `stats.jsonl`, TensorBoard, the progress bar."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from torch_utils.runs import Log, StatsFile
from torch_utils.stats import Moments

# What a status line shows: names in the statistics and their short forms.
SHOWN = {"loss/G": "G", "loss/D fake": "Dfake", "loss/D real": "Dreal", "loss/D r1": "r1", "path/length": "path"}


class Report:
    """Writes into a run folder and speaks on the terminal; on processes other than the first it does neither.

    Args:
        folder: the run folder; None writes nothing.
        seen: images that a resumed run has seen; what was written after them is dropped.
    """

    def __init__(self, folder: Path | None, seen: int = 0) -> None:
        self.folder = folder
        self.bar: tqdm | None = None
        self.tick_began = time.monotonic()
        self.seen_at_tick = seen
        if folder is None:
            return
        self.log = Log(folder / "log.txt")
        self.stats = StatsFile(folder / "stats.jsonl")
        if seen:
            self.stats.rewind(seen)
        self.board = SummaryWriter(str(folder), purge_step=seen + 1 if seen else None)

    def say(self, text: str = "") -> None:
        """A line on the terminal, above the progress bar, and in `log.txt`."""
        if self.folder is not None:
            with tqdm.external_write_mode(file=sys.stdout):
                self.log(text)

    def keep(self, text: str) -> None:
        """A line for `log.txt` alone."""
        if self.folder is not None:
            self.log.keep(text)

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
        self.say(_status_line(seen, end, speed, moments, facts))
        record: dict[str, float | dict[str, float]] = {**facts, **timing}
        record |= {name: {"mean": m.mean, "std": m.std, "count": m.count} for name, m in moments.items()}
        self.stats.append(seen, record)
        for name, value in {**timing, **facts, **{name: m.mean for name, m in moments.items()}}.items():
            self.board.add_scalar(name, value, seen)
        self.board.flush()

    def scalar(self, name: str, value: float, seen: int) -> None:
        """A point of a curve of its own."""
        if self.folder is not None:
            self.board.add_scalar(name, value, seen)
            self.board.flush()

    def picture(self, name: str, path: Path, seen: int) -> None:
        """A picture file for TensorBoard, its bytes as they are: encoding it anew would take twice as long."""
        if self.folder is None or self.board.file_writer is None:
            return
        with Image.open(path) as image:
            size = {"width": image.width, "height": image.height, "colorspace": len(image.getbands())}
        shown = Summary.Image(encoded_image_string=path.read_bytes(), **size)
        self.board.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=shown)]), seen)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
        if self.folder is not None:
            self.board.close()
            self.log.close()


def _status_line(seen: int, end: int, speed: float, moments: Mapping[str, Moments], facts: Mapping[str, float]) -> str:
    parts = [
        f"kimg {seen / 1000:<8.{1 if end >= 10_000 else 3}f}",
        f"time {_duration(facts['time/seconds']):<11}",
        f"sec/kimg {1000 / max(speed, 1e-9):<8.2f}",
        f"img/s {speed:<7.1f}",
        f"ETA {_duration(max(end - seen, 0) / max(speed, 1e-9)):<11}",
        f"mem {facts['memory/peak bytes'] / 2**30:.1f}G ",
    ]
    parts += [f"{short} {moments[name].mean:<7.3f}" for name, short in SHOWN.items() if name in moments]
    if facts["steps skipped"]:
        parts.append(f"skipped {facts['steps skipped']:.0f}")
    return " ".join(parts).rstrip()


def _duration(seconds: float) -> str:
    """3725 -> 1h 02m 05s."""
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours:02d}h {minutes:02d}m"
    if hours:
        return f"{hours}h {minutes:02d}m {whole % 60:02d}s"
    return f"{minutes}m {whole % 60:02d}s"
