"""What lies in a run folder, read with patience: by whatever version it was written, wherever it was cut short."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_utils.runs import StatsFile, reals_path

STATS, METRICS, LOG, CONFIG = "stats.jsonl", "metrics.jsonl", "log.txt", "config.json"
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

    @property
    def seen(self) -> int:
        """Images shown so far, as far as the files tell."""
        return self.stats[-1]["seen"] if self.stats else 0

    @property
    def end(self) -> int:
        """Images at the end of training; 0 where that is unknown."""
        kimg = part(self.config, "pace").get("kimg", 0)
        return round(kimg * 1000) if isinstance(kimg, int | float) else 0


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
    fakes = sorted((float(match[1]), path) for match, path in found if match)
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
    )


def mean(value: Any) -> float | None:
    """A statistic of a tick as one number: it is a number, or moments with a mean; None where it is not finite."""
    value = value.get("mean") if isinstance(value, Mapping) else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def part(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A part of a nested configuration; empty where there is none."""
    inner = config.get(name)
    return inner if isinstance(inner, dict) else {}


def lines(path: Path) -> list[dict[str, Any]]:
    return list(StatsFile(path).read()) if path.is_file() else []


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(_text(path) or "{}")
    except json.JSONDecodeError:
        return {}
    return config if isinstance(config, dict) else {}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
