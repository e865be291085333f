"""The curves of a run: which statistics share a chart, and their numbers."""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from system.text import printable
from training.signs import Chart, mean

MOST_POINTS = 2000  # of a curve; a screen shows no more
MOST_CURVES = 1000
HIDDEN = ("seen", "time/seconds", "timing/seconds per kimg")  # the page shows these in another way
SECTIONS = ("Metrics", "Learning", "Machine", "More")
LOWER, HIGHER = ("fid", "kid", "swd", "ppl", "fd_"), ("is", "pr", "precision", "recall")  # beginnings of metrics' names

# Of any model. They come after the model's own charts; a statistic without a chart gets one by its prefix.
CHARTS = (
    Chart("Losses", ("loss/*",), "falling, or steady."),
    Chart("Norms of the gradients", ("gradients/*",), "each keeps its order of magnitude."),
    Chart("Diversity of the samples", ("samples/diversity", "samples/nearest"),
          "0.5 to 1.1. Below 0.3 nearly all samples look alike.", unit="relative to reals"),
    Chart("Diversity by class", ("samples/*",),
          "all classes about alike. A class far below the others has collapsed.", unit="relative to reals"),
    Chart("Throughput", ("timing/images per second",), "level.", "images/s", "Machine"),
    Chart("Time of the parts of a step", ("timing/*",),
          "level, and data far below the rest; otherwise use more --workers, or a ZIP of the right size.",
          "s", "Machine"),
    Chart("Memory", ("memory/*",), "level after the first ticks.", "GiB", "Machine"),
    Chart("Learning rates", ("learning rate/*",), "as scheduled.", section="Machine"),
    Chart("Steps skipped", ("steps skipped",), "0, or a few in float16.", section="Machine"),
)  # fmt: skip

Points = list[tuple[float, float | None]]  # kimg and value


@dataclass(frozen=True)
class Series:
    """One curve: its statistic, its label in the legend, and its points."""

    name: str
    label: str
    kimg: list[float]
    values: list[float | None]


@dataclass(frozen=True)
class Drawn:
    """One chart with its curves."""

    section: str
    title: str
    unit: str
    series: list[Series]
    healthy: str


def drawn(
    stats: Sequence[dict[str, Any]],
    metrics: Sequence[dict[str, Any]],
    own: Sequence[Chart],
    class_names: Sequence[str] = (),
) -> list[Drawn]:
    """Every statistic of a run in its chart, and a chart for each metric.

    Args:
        stats: records of `stats.jsonl`.
        metrics: records of `metrics.jsonl`.
        own: charts of the model.
        class_names: of the data set.
    """
    curves = {name: points for name, points in _points(stats).items() if any(value is not None for _, value in points)}
    placed = [Drawn("Metrics", series.label, "", [series], _better(series.name)) for series in _metric_series(metrics)]
    for chart in (*own, *CHARTS):
        fitting = [name for name in curves if any(fnmatch.fnmatchcase(name, pattern) for pattern in chart.patterns)]
        scale = 2**-30 if chart.unit == "GiB" else 1.0
        series = [_series(name, label(name, class_names), curves.pop(name), scale) for name in fitting]
        if series:
            placed.append(Drawn(chart.section, chart.title, chart.unit, series, f"Healthy: {chart.healthy}"))
    rest: dict[str, list[Series]] = {}
    for name, points in curves.items():
        rest.setdefault(name.partition("/")[0], []).append(_series(name, label(name), points))
    placed += [Drawn("More", printable(prefix).capitalize(), "", several, "") for prefix, several in rest.items()]
    return sorted(placed, key=lambda chart: SECTIONS.index(chart.section))


def _metric_series(metrics: Sequence[dict[str, Any]]) -> list[Series]:
    """A curve for each metric of `metrics.jsonl`. If a moment was judged twice, the last value counts."""
    found: dict[str, dict[float, float | None]] = {}
    for record in metrics:
        name, value = record.get("metric"), mean(record.get("value"))
        if value is not None and isinstance(name, str) and (name in found or len(found) < MOST_CURVES):
            found.setdefault(name, {})[record["seen"] / 1000] = value
    return [_series(name, printable(name), sorted(values.items())) for name, values in found.items()]


def label(name: str, class_names: Sequence[str] = ()) -> str:
    """The name of a curve in its chart, such as `happy`, `D real`, `r1 penalty`."""
    prefix, _, rest = name.partition("/")
    if rest == "penalty":
        return printable(f"{prefix} penalty", 60)
    of_class = re.fullmatch(r"diversity class ([0-9]{1,9})", rest)
    if of_class:
        number = int(of_class[1])
        return printable(class_names[number], 40) if number < len(class_names) else f"class {number}"
    return printable((rest or prefix).removesuffix(" bytes"), 60)


def _better(metric: str) -> str:
    low = metric.lower()
    return "Lower is better." if low.startswith(LOWER) else "Higher is better." if low.startswith(HIGHER) else ""


def _points(stats: Sequence[dict[str, Any]]) -> dict[str, Points]:
    """The points of the first MOST_CURVES statistics."""
    points: dict[str, Points] = {}
    for record in stats:
        for name, value in record.items():
            if name not in HIDDEN and (name in points or len(points) < MOST_CURVES):
                points.setdefault(name, []).append((record["seen"] / 1000, mean(value)))
    return points


def _series(name: str, label: str, points: Points, scale: float = 1.0) -> Series:
    """At most MOST_POINTS points: of a longer curve every 2nd, 3rd ..., and the last."""
    step = max(-(-len(points) // MOST_POINTS), 1)
    kept = points[(len(points) - 1) % step :: step]
    values = [None if value is None else _short(scale * value) for _, value in kept]
    return Series(name, label, [_short(kimg) for kimg, _ in kept], values)


def _short(value: float) -> float:
    return float(f"{value:.6g}")
