"""The charts of a run: which statistics share a chart, and the charts as SVG."""

import fnmatch
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from system.text import harmless, printable
from training.signs import Chart, mean

MOST_POINTS = 600  # of a curve; a chart is as wide
MOST_CURVES = 1000
HIDDEN = ("seen", "time/seconds", "timing/seconds per kimg")  # the page shows these in another way
SECTIONS = ("Metrics", "Learning", "Machine", "More")
LOWER, HIGHER = ("fid", "kid", "swd", "ppl", "fd_"), ("is", "pr", "precision", "recall")  # beginnings of metrics' names
WIDTH, HEIGHT, LEFT, BOTTOM, MARGIN = 600, 260, 70, 28, 24
COLORS = 8
LARGEST = 1e300  # value that is drawn: the range of an axis is finite
LOGARITHMIC = 100  # a wider range of values, all of them positive, gets a logarithmic axis
SMOOTHING, FEWEST_TO_SMOOTH = 0.8, 50

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

Curve = dict[float, float]  # value by kimg
Points = list[tuple[float, float]]


def placed(
    stats: Iterable[Mapping[str, Any]], metrics: Iterable[Mapping[str, Any]], own: Sequence[Chart]
) -> list[tuple[Chart, dict[str, Curve]]]:
    """Every statistic of a run (records of `stats.jsonl`) in its chart, the model's `own` first; a chart per metric."""
    judged = [record for record in metrics if isinstance(record.get("metric"), str)]
    values = _curves({record["metric"]: record.get("value"), "seen": record["seen"]} for record in judged)
    found = [(Chart(printable(name), (), _better(name), section="Metrics"), {name: values[name]}) for name in values]
    curves = _curves(stats)
    for chart in (*own, *CHARTS):
        fitting = [name for name in curves if any(fnmatch.fnmatchcase(name, pattern) for pattern in chart.patterns)]
        if fitting:
            found.append((chart, {name: curves.pop(name) for name in fitting}))
    rest: dict[str, dict[str, Curve]] = {}
    for name, curve in curves.items():
        rest.setdefault(name.partition("/")[0], {})[name] = curve
    found += [(Chart(printable(prefix).capitalize(), (), "", section="More"), each) for prefix, each in rest.items()]
    return sorted(found, key=lambda each: SECTIONS.index(each[0].section))


def _curves(records: Iterable[Mapping[str, Any]]) -> dict[str, Curve]:
    """The first MOST_CURVES curves. The last value of a moment counts; a moment without a finite value has no point."""
    curves: dict[str, Curve] = {}
    for record in records:
        for name, told in record.items():
            counts = name not in HIDDEN and (name in curves or len(curves) < MOST_CURVES)
            if counts and (value := mean(told)) is not None and abs(value) < LARGEST:
                curves.setdefault(name, {})[record["seen"] / 1000] = value
    return curves


def _better(metric: str) -> str:
    low = metric.lower()
    return "lower is better." if low.startswith(LOWER) else "higher is better." if low.startswith(HIGHER) else ""


def label(name: str) -> str:
    """The name of a curve in its chart, such as `D real`, `r1 penalty`, `class 3`."""
    prefix, _, rest = name.partition("/")
    shown = f"{prefix} penalty" if rest == "penalty" else (rest or prefix)
    return printable(shown.removesuffix(" bytes").removeprefix("diversity "), 60)


def drawn(chart: Chart, curves: Mapping[str, Curve]) -> str:
    """A chart as HTML: an SVG, a legend with the last values, and what is healthy."""
    scale = 2**-30 if chart.unit == "GiB" else 1.0
    lines = {name: _thinned(curve, scale) for name, curve in curves.items()}
    points = [point for line in lines.values() for point in line]
    x = Axis([kimg for kimg, _ in points], LEFT, WIDTH - MARGIN)
    y = Axis([value for _, value in points], HEIGHT - BOTTOM, MARGIN, may_be_logarithmic=True)
    shapes, legend = [], []
    for place, tick in [(y.place(tick), tick) for tick in y.ticks()]:
        shapes.append(f'<path class="grid" d="M{LEFT} {place:.1f}H{WIDTH - MARGIN}"/>')
        shapes.append(f'<text x="{LEFT - 8}" y="{place + 5:.1f}" text-anchor="end">{tick:.4g}</text>')
    for place, tick in [(x.place(tick), tick) for tick in x.ticks()]:
        shapes.append(f'<text x="{place:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{tick:.4g}</text>')
    for number, (name, line) in enumerate(lines.items()):
        color = f"var(--c{number % COLORS})"
        if len(line) >= FEWEST_TO_SMOOTH:
            shapes.append(f'<path class="raw" stroke="{color}" d="{_path(line, x, y)}"/>')
            line = _smoothed(line)
        dot = ' class="dot"' if len(line) == 1 else ""
        shapes.append(f'<path data-name="{escaped(name)}"{dot} stroke="{color}" d="{_path(line, x, y)}"/>')
        text = f"{escaped(label(name))} <small>{line[-1][1]:.4g}</small>"
        legend.append(f'<span><i style="background: {color}"></i>{text}</span>')
    title, healthy = escaped(chart.title), f"<p>Healthy: {chart.healthy}</p>" if chart.healthy else ""
    return (
        f'<div class="chart"><h4>{title} <small>{chart.unit}</small></h4>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title} over kimg">{"".join(shapes)}</svg>'
        f'<div class="legend">{"".join(legend)}</div>{healthy}</div>'
    )


class Axis:
    """Coordinates from `start` to `stop` of finite values along one side of a chart."""

    def __init__(self, values: Sequence[float], start: float, stop: float, may_be_logarithmic: bool = False) -> None:
        low, high = min(values), max(values)
        self.logarithmic = may_be_logarithmic and low > 0 and high / low > LOGARITHMIC
        self.low, self.high = (math.log10(low), math.log10(high)) if self.logarithmic else (low, high)
        if self.high - self.low <= max(1e-9 * max(abs(self.low), abs(self.high)), 1e-300):
            margin = max(abs(self.low), 1e-3) / 2
            self.low, self.high = self.low - margin, self.high + margin
        self.start, self.stop = start, stop

    def place(self, value: float) -> float:
        """The coordinate of a value."""
        value = math.log10(value) if self.logarithmic else value
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self) -> list[float]:
        """Round numbers, 1, 2 or 5 times a power of ten apart; powers of ten on a logarithmic axis."""
        rough = (self.high - self.low) / 6
        power = 1.0 if self.logarithmic and rough < 1 else 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= rough)
        at = [i * step for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return [10.0**exponent for exponent in at] if self.logarithmic else at


def _thinned(curve: Curve, scale: float) -> Points:
    """At most MOST_POINTS points: of a longer curve every 2nd, 3rd ..., and the last."""
    points = sorted(curve.items())
    step = -(-len(points) // MOST_POINTS)
    return [(kimg, scale * value) for kimg, value in points[(len(points) - 1) % step :: step]]


def _smoothed(points: Points) -> Points:
    """Exponential moving average, corrected for its start at 0 (Kingma and Ba 2015, section 3)."""
    total, found = 0.0, []
    for count, (kimg, value) in enumerate(points, 1):
        total = SMOOTHING * total + (1 - SMOOTHING) * value
        found.append((kimg, total / (1 - SMOOTHING**count)))
    return found


def _path(points: Points, x: Axis, y: Axis) -> str:
    """Lines through the points. `h0` makes a dot of a single point."""
    return "M" + "L".join(f"{x.place(kimg):.1f} {y.place(value):.1f}" for kimg, value in points) + "h0"


def escaped(text: object) -> str:
    """A text for HTML, without control characters."""
    return html.escape(harmless(str(text)))
