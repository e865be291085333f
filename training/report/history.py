"""The files of a run folder, of any version, whole or cut short."""

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from system.untrusted import json_object
from torch_utils.journal import StatsFile
from torch_utils.runs import REALS
from training.signs import mean, part

STATS, METRICS, LOG, CONFIG = "stats.jsonl", "metrics.jsonl", "log.txt", "config.json"
MOST_BYTES = 2**26  # of a file that are held at once: statistics of 20,000 ticks
_SAMPLES = re.compile(r"fakes-(\d{6,}\.\d)\.png")


@dataclass(frozen=True)
class History:
    """A run as its files tell it. What is missing is empty."""

    folder: Path
    config: dict[str, Any]  # nested, as in config.json
    stats: list[dict[str, Any]]  # by `seen`
    metrics: list[dict[str, Any]]
    log: list[str]
    samples: list[tuple[float, Path]]  # kimg and sheet, in order
    reals: Path

    @property
    def seen(self) -> int:
        """Images shown so far."""
        return self.stats[-1]["seen"] if self.stats else 0

    @property
    def end(self) -> int:
        """Images at the end of training; 0 if unknown."""
        kimg = mean(part(self.config, "pace").get("kimg")) or 0.0
        return round(kimg * 1000) if 0 < kimg < 1e12 else 0


def read(folder: Path) -> History:
    """Reads a run folder. Raises FileNotFoundError or ValueError if it is not the folder of a run."""
    if not folder.exists():
        raise FileNotFoundError(f"there is no {folder}: give the folder of a run, such as runs/00000-ffhq-auto")
    if not folder.is_dir() or not any((folder / name).is_file() for name in (STATS, LOG, CONFIG)):
        raise ValueError(
            f"{folder} is not the folder of a run, which holds {CONFIG}, {LOG} or {STATS}: "
            "give one, such as runs/00000-ffhq-auto"
        )
    found = ((_SAMPLES.fullmatch(path.name), path) for path in folder.iterdir())
    stats = {record["seen"]: record for record in _records(folder / STATS)}  # the last word on each moment
    return History(
        folder,
        json_object(_text(folder / CONFIG)) or {},
        [stats[seen] for seen in sorted(stats)],
        _records(folder / METRICS),
        _text(folder / LOG).splitlines(),
        sorted((float(match[1]), path) for match, path in found if match and path.is_file()),
        folder / REALS,
    )


def _records(path: Path) -> list[dict[str, Any]]:
    """The records of a file of statistics; of a very large file every second, third ..."""
    if not path.is_file():
        return []
    step = max(-(-path.stat().st_size // MOST_BYTES), 1)
    return list(islice(StatsFile(path).read(), 0, None, step))


def _text(path: Path) -> str:
    """The first MOST_BYTES of a text file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(MOST_BYTES).decode("utf-8", errors="replace")
