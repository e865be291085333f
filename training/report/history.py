"""What lies in a run folder, read with patience: by whatever version it was written, wherever it was cut short."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from system.files import in_utf8
from torch_utils.journal import StatsFile, json_object
from torch_utils.runs import newest_in, reals_path

STATS, METRICS, LOG, CONFIG = "stats.jsonl", "metrics.jsonl", "log.txt", "config.json"
MOST_BYTES = 2**26  # of statistics that are held at once: those of 20,000 ticks
MOST_TEXT = 2**23  # bytes of a log or a configuration that are read: the beginning and the end of more
MOST_CLASSES = 1000  # whose names are looked for
_FAKES = re.compile(r"fakes-(\d{6,}\.\d)\.png")


@dataclass(frozen=True)
class History:
    """A run as its files tell it. What is missing is empty."""

    folder: Path
    config: dict[str, Any]  # nested, as in config.json
    stats: list[dict[str, Any]]  # by `seen`
    metrics: list[dict[str, Any]]
    log: list[str]
    fakes: list[tuple[float, Path]]  # kimg and sheet, in order
    reals: Path | None
    class_names: tuple[str, ...] = ()

    @property
    def seen(self) -> int:
        """Images shown so far, as far as the files tell."""
        return self.stats[-1]["seen"] if self.stats else 0

    @property
    def end(self) -> int:
        """Images at the end of training; 0 where that is unknown."""
        kimg = mean(part(self.config, "pace").get("kimg")) or 0.0
        return round(kimg * 1000) if 0 < kimg < 1e12 else 0


def read(folder: Path) -> History:
    """Reads a run folder.

    Raises:
        FileNotFoundError, ValueError: when there is no such folder, or it is not that of a run.
    """
    if not folder.exists():
        raise FileNotFoundError(f"there is no {folder}: give the folder of a run, such as runs/00000-ffhq-auto")
    if not folder.is_dir() or not any((folder / name).is_file() for name in (STATS, LOG, CONFIG)):
        raise ValueError(
            f"{folder} is not the folder of a run, which holds {CONFIG}, {LOG} or {STATS}: "
            "give one, such as runs/00000-ffhq-auto"
        )
    log = _text(folder / LOG).splitlines()
    found = ((_FAKES.fullmatch(path.name), path) for path in folder.iterdir())
    fakes = sorted((float(match[1]), path) for match, path in found if match and path.is_file())
    reals = reals_path(folder)
    stats = {record["seen"]: record for record in lines(folder / STATS)}  # the last word on each moment
    return History(
        folder,
        _config(folder / CONFIG),
        [stats[seen] for seen in sorted(stats)],
        lines(folder / METRICS),
        log,
        fakes,
        reals if reals.is_file() else None,
        _class_names(folder),
    )


def mean(value: Any) -> float | None:
    """A statistic of a tick as one number: it is a number, or moments with a mean; None where it is not finite."""
    value = value.get("mean") if isinstance(value, Mapping) else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def part(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A part of a nested configuration; empty where there is none."""
    inner = config.get(name)
    return inner if isinstance(inner, dict) else {}


def lines(path: Path) -> list[dict[str, Any]]:
    """The records of a file of statistics; of a very large one every second, third ..., and the last."""
    if not path.is_file():
        return []
    step = -(-path.stat().st_size // MOST_BYTES)
    found: list[dict[str, Any]] = []
    last = None
    for number, record in enumerate(StatsFile(path).read()):
        last = record
        if number % max(step, 1) == 0:
            found.append(record)
    return found if last is None or found[-1] is last else [*found, last]


def _config(path: Path) -> dict[str, Any]:
    return json_object(_text(path)) or {}


def _text(path: Path) -> str:
    """A text file; of a very large one its beginning and its end."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        data = file.read(MOST_TEXT)
        rest = path.stat().st_size - len(data)
        if rest > 0:
            file.seek(max(len(data), path.stat().st_size - MOST_TEXT))
            data += b"\n" + file.read(MOST_TEXT)
    return data.decode("utf-8", errors="replace")


def _class_names(folder: Path) -> tuple[str, ...]:
    """The names of the classes, as the newest network of the run has them; none if it cannot be read."""
    try:
        newest = newest_in(folder)
        if newest is None or not newest.is_file():
            return ()
        with in_utf8(newest) as name, safe_open(name, framework="pt") as file:
            metadata = json_object((file.metadata() or {}).get("metadata", "")) or {}
    except Exception:  # whatever a damaged file leads to: names are not worth a page
        return ()
    names = part(metadata, "data").get("class_names")
    return tuple(map(str, names[:MOST_CLASSES])) if isinstance(names, list) else ()
