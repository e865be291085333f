"""The curves of a run: which statistics share a chart, and their numbers as the page carries them."""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from system.text import printable
from training.report.history import mean, part

MOST_POINTS = 2000  # of a curve; a screen shows no more, and a long run has several times as many ticks
MOST_CURVES = 1000  # on the page; runs have a few dozen, and one more for each class
DIGITS = 6  # significant ones, of every number
HIDDEN = ("time/seconds", "timing/seconds per kimg")  # told by other numbers of the page

# A statistic goes to the first chart that one of its patterns fits; what fits none gets a chart by its prefix.
#   section, title, unit, patterns, what a healthy curve looks like
CHARTS: tuple[tuple[str, str, str, tuple[str, ...], str], ...] = (
    ("Learning", "Losses", "", ("loss/G", "loss/D fake", "loss/D real", "loss/D pair"),
     "they move up and down without end. D fake and D real sum to 1.39, D pair is 0.69, where D can tell nothing; "
     "near 0 D has won."),
    ("Learning", "Losses of regularization", "", ("loss/*",), "steady, or slowly falling."),
    ("Learning", "Scores that D gives", "", ("scores/*", "margin"),
     "reals lie above fakes, and the distance does not grow for ever."),
    ("Learning", "Signs of the scores", "", ("signs/*",),
     "0.3 to 0.8 for reals. Near 1 and -1 D knows everything by heart. With --loss rpgan they mean nothing."),
    ("Learning", "Augmentation: p", "", ("augment/p",),
     "it rises, then settles below 0.8. If it climbs to 1, there are too few images."),
    ("Learning", "Augmentation", "", ("augment/*",), "the mean sign comes to --target, 0.6 unless given."),
    ("Learning", "Path length", "", ("path/*",), "the length settles, and the penalty falls to near 0."),
    ("Learning", "R1 and R2", "", ("r1/*", "r2/*"), "steady. If they jump tenfold, a larger --gamma helps."),
    ("Learning", "Norms of the gradients", "", ("gradients/*",), "each keeps its order of magnitude."),
    ("Learning", "Diversity of the samples", "relative to reals", ("samples/diversity", "samples/nearest"),
     "0.5 to 1.1. Below 0.3 nearly all fakes look alike."),
    ("Learning", "Diversity by class", "relative to reals", ("samples/*",),
     "all classes about alike. One far below the others has collapsed."),
    ("Machine", "Throughput", "images/s", ("timing/images per second",), "level."),
    ("Machine", "Time of the parts of a step", "s", ("timing/*",),
     "level, and data far below the rest; otherwise more --workers, or a ZIP of the right size, help."),
    ("Machine", "Memory", "GiB", ("memory/*",), "level after the first ticks."),
    ("Machine", "Learning rates", "", ("learning rate/*",), "level."),
    ("Machine", "Steps skipped", "", ("steps skipped",), "0, or a few in float16."),
)  # fmt: skip
LOWER, HIGHER = ("fid", "kid", "swd", "ppl", "fd_"), ("is", "pr", "precision", "recall")  # beginnings of metrics' names


@dataclass(frozen=True)
class Series:
    """One curve: thousands of images against values; None where nothing was told."""

    name: str  # of the statistic
    label: str  # beside the curve
    kimg: list[float]
    values: list[float | None]


@dataclass(frozen=True)
class Chart:
    section: str
    title: str
    unit: str
    series: list[Series]
    healthy: str = ""  # what a curve of a good run looks like


def charts(
    stats: Sequence[dict[str, Any]], metrics: Sequence[dict[str, Any]] = (), class_names: Sequence[str] = ()
) -> list[Chart]:
    """Every statistic of a run in its chart, and a chart for each metric, metrics first."""
    curves = _series(stats, class_names)
    placed = [Chart("Metrics", s.label, "", [s], _better(s.name)) for s in metric_series(metrics)]
    for section, title, unit, patterns, healthy in CHARTS:
        fitting = dict.fromkeys(name for pattern in patterns for name in fnmatch.filter(curves, pattern))
        if fitting:
            series = [_in_unit(curves.pop(name), unit) for name in fitting]
            placed.append(Chart(section, title, unit, series, f"Healthy: {healthy}"))
    rest: dict[str, list[Series]] = {}
    for name, one in curves.items():
        rest.setdefault(name.partition("/")[0], []).append(one)
    return placed + [Chart("More", printable(prefix).capitalize(), "", several) for prefix, several in rest.items()]


def lazy(config: Mapping[str, Any]) -> str:
    """Why the learning rates on the page are not those that were set; "" where they are.

    Args:
        config: of the run, nested.
    """
    optimizer, said = part(config, "optimizer"), []
    for network in ("G", "D"):
        rate, interval = (mean(optimizer.get(f"{network.lower()}_{name}")) for name in ("lr", "interval"))
        if rate and interval and interval >= 1:
            used = rate * interval / (interval + 1)
            said.append(f"{network}: {rate:.4g} was set, and {interval:g}/{interval + 1:g} of it, {used:.4g}, is used")
    why = "because regularization adds a step to every so many (lazy regularization: Karras et al. 2020, appendix B)"
    return f"Healthy: level. {'; '.join(said)}, {why}." if said else ""


def _better(metric: str) -> str:
    low = metric.lower()
    return "Lower is better." if low.startswith(LOWER) else "Higher is better." if low.startswith(HIGHER) else ""


def label(name: str, class_names: Sequence[str] = ()) -> str:
    """What a curve is called beside its chart: `R1`, `happy`, `D real`."""
    prefix, _, rest = name.partition("/")
    if prefix in ("r1", "r2") and rest == "penalty":
        return prefix.upper()
    of_class = re.fullmatch(r"diversity class ([0-9]{1,9})", rest)
    if of_class:
        number = int(of_class[1])
        return printable(class_names[number], 40) if number < len(class_names) else f"class {number}"
    return printable((rest or prefix).removesuffix(" bytes"), 60)


def metric_series(metrics: Sequence[dict[str, Any]]) -> list[Series]:
    """A curve for each metric of `metrics.jsonl`; a moment judged twice counts as judged last."""
    found: dict[str, dict[int, float]] = {}
    for record in metrics:
        name, value = record.get("metric"), mean(record.get("value"))
        if value is not None and isinstance(name, str) and (name in found or len(found) < MOST_CURVES):
            found.setdefault(name, {})[record["seen"]] = value
    return [
        Series(name, printable(name), [_short(seen / 1000) for seen, _ in points], [_short(v) for _, v in points])
        for name, points in ((name, sorted(values.items())) for name, values in found.items())
    ]


def _series(stats: Sequence[dict[str, Any]], class_names: Sequence[str]) -> dict[str, Series]:
    """All curves, each with the moments whose record tells of it; of more than MOST_CURVES the first."""
    told = {name for record in stats for name, value in record.items() if mean(value) is not None}
    points: dict[str, list[tuple[float, float | None]]] = {}
    for record in stats:
        for name, value in record.items():
            shown = name in told and name != "seen" and name not in HIDDEN
            if shown and (name in points or len(points) < MOST_CURVES):
                points.setdefault(name, []).append((record["seen"] / 1000, mean(value)))
    return {name: _thin(name, label(name, class_names), values) for name, values in points.items()}


def _thin(name: str, label: str, points: Sequence[tuple[float, float | None]]) -> Series:
    """At most MOST_POINTS points: each the mean of so many, at the last of them."""
    step = -(-len(points) // MOST_POINTS)
    kimg, values = [], []
    for start in range(0, len(points), step):
        bucket = points[start : start + step]
        told = [value for _, value in bucket if value is not None]
        kimg.append(_short(bucket[-1][0]))
        values.append(_short(sum(told) / len(told)) if told else None)
    return Series(name, label, kimg, values)


def _in_unit(series: Series, unit: str) -> Series:
    if unit != "GiB":
        return series
    values = [None if value is None else _short(value / 2**30) for value in series.values]
    return replace(series, values=values)


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
