"""The curves of a run: which statistics share a chart, and their numbers as the page carries them."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.report.history import mean

MOST_POINTS = 2000  # of a curve; a screen shows no more, and a long run has several times as many ticks
DIGITS = 6  # significant ones, of every number
HIDDEN = ("time/seconds", "timing/seconds per kimg")  # told by other numbers of the page

# A statistic goes to the first chart that one of its patterns fits; what fits none gets a chart by its prefix.
#   section, title, unit, patterns
CHARTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("Learning", "Losses", "", ("loss/G", "loss/D fake", "loss/D real", "loss/D pair")),
    ("Learning", "Losses of regularisation", "", ("loss/*",)),
    ("Learning", "Scores that D gives", "", ("scores/*", "margin")),
    ("Learning", "Signs of the scores", "", ("signs/*",)),
    ("Learning", "Augmentation: p", "", ("augment/p",)),
    ("Learning", "Augmentation", "", ("augment/*",)),
    ("Learning", "Path length", "", ("path/*",)),
    ("Learning", "R1 and R2", "", ("r1/*", "r2/*")),
    ("Learning", "Norms of the gradients", "", ("gradients/*",)),
    ("Learning", "Diversity of the samples", "relative to reals", ("samples/diversity", "samples/nearest")),
    ("Learning", "Diversity by class", "relative to reals", ("samples/*",)),
    ("Machine", "Throughput", "images/s", ("timing/images per second",)),
    ("Machine", "Time of the parts of a step", "s", ("timing/*",)),
    ("Machine", "Memory", "GiB", ("memory/*",)),
    ("Machine", "Learning rates", "", ("learning rate/*",)),
    ("Machine", "Steps skipped", "", ("steps skipped",)),
)


@dataclass(frozen=True)
class Series:
    """One curve: thousands of images against values; None where nothing was told."""

    name: str
    kimg: list[float]
    values: list[float | None]


@dataclass(frozen=True)
class Chart:
    section: str
    title: str
    unit: str
    series: list[Series]


def charts(stats: Sequence[dict[str, Any]], metrics: Sequence[dict[str, Any]] = ()) -> list[Chart]:
    """Every statistic of a run in its chart, and a chart for each metric, metrics first."""
    curves = _series(stats)
    placed = [Chart("Metrics", s.name, "", [s]) for s in metric_series(metrics)]
    for section, title, unit, patterns in CHARTS:
        fitting = dict.fromkeys(name for pattern in patterns for name in fnmatch.filter(curves, pattern))
        if fitting:
            placed.append(Chart(section, title, unit, [_in_unit(curves.pop(name), unit) for name in fitting]))
    prefixes = dict.fromkeys(name.partition("/")[0] for name in curves)
    for prefix in prefixes:
        rest = [series for name, series in curves.items() if name.partition("/")[0] == prefix]
        placed.append(Chart("More", prefix.capitalize(), "", rest))
    return placed


def metric_series(metrics: Sequence[dict[str, Any]]) -> list[Series]:
    """A curve for each metric of `metrics.jsonl`; a moment judged twice counts as judged last."""
    found: dict[str, dict[int, float]] = {}
    for record in metrics:
        value = mean(record.get("value"))
        if value is not None:
            found.setdefault(str(record.get("metric")), {})[record["seen"]] = value
    return [
        Series(name, [_short(seen / 1000) for seen, _ in points], [_short(value) for _, value in points])
        for name, points in ((name, sorted(values.items())) for name, values in found.items())
    ]


def _series(stats: Sequence[dict[str, Any]]) -> dict[str, Series]:
    names = dict.fromkeys(name for record in stats for name, value in record.items() if mean(value) is not None)
    shown = [name for name in names if name != "seen" and name not in HIDDEN]
    return {name: _thin(name, [(r["seen"] / 1000, mean(r[name])) for r in stats if name in r]) for name in shown}


def _thin(name: str, points: Sequence[tuple[float, float | None]]) -> Series:
    """At most MOST_POINTS points: each the mean of so many, at the last of them."""
    step = -(-len(points) // MOST_POINTS)
    kimg, values = [], []
    for start in range(0, len(points), step):
        bucket = points[start : start + step]
        told = [value for _, value in bucket if value is not None]
        kimg.append(_short(bucket[-1][0]))
        values.append(_short(sum(told) / len(told)) if told else None)
    return Series(name, kimg, values)


def _in_unit(series: Series, unit: str) -> Series:
    if unit != "GiB":
        return series
    values = [None if value is None else _short(value / 2**30) for value in series.values]
    return Series(series.name, series.kimg, values)


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
