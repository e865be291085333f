"""What a model's statistics mean: the words, charts and alarms that it brings to the report of a run."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Config = Mapping[str, Any]  # of a run, nested, as in `config.json`: of any version, so any key may be missing
Means = Mapping[str, float]  # one record of `stats.jsonl`: names and means

COLLAPSED = 0.3  # the least varied sheet of a healthy run of the demo faces has 0.49 of the distances of its reals
SNAPSHOTS = 2
SKIPPED = 0.01  # float16 overflows now and then; more than one step in a hundred is too often
SKIPPING_TICKS = 3


@dataclass
class Alarm:
    """A problem of a run: its first and last count of images, a sentence about it, and what to try."""

    kind: str
    since: int
    text: str
    advice: str
    until: int | None = None  # None: it still holds


@dataclass(frozen=True)
class Watch:
    """A rule that raises one kind of alarm.

    Args:
        kind: the name of the alarm.
        names: statistics that a record must have to be judged.
        judge: gets the means of the last `ticks + 1` such records, newest last, and returns what is wrong, or "".
        advice: what to try.
        ticks: records in a row that raise the alarm, or end it.
    """

    kind: str
    names: tuple[str, ...]
    judge: Callable[[Sequence[Means]], str]
    advice: str
    ticks: int = 5


class Chart(NamedTuple):
    """Statistics that share a chart of the report. A statistic goes to the first chart that has a pattern for it."""

    title: str
    patterns: tuple[str, ...]  # of `fnmatch`, such as "loss/t *"
    healthy: str  # what the curves of a good run look like
    unit: str = ""
    section: str = "Learning"


@dataclass(frozen=True)
class Signs:
    """What the report of a run has to know about the model that it trains.

    Args:
        shown: statistics in the status line, and their short names.
        charts: charts of this model's own statistics.
        watches: rules that raise alarms.
        before: alarms that follow from the configuration alone.
        diverged: what to try when training has diverged.
        diversity: whether samples should vary as much as real images.
    """

    shown: Mapping[str, str] = field(default_factory=dict)
    charts: tuple[Chart, ...] = ()
    watches: tuple[Watch, ...] = ()
    before: Callable[[Config], Sequence[Alarm]] = lambda config: ()
    diverged: str = "a smaller learning rate"
    diversity: bool = True


def few_differences(advice: str) -> Watch:
    """A watch for samples that are much more alike than real images."""
    return Watch("the samples have lost their diversity", ("samples/diversity",), _collapsed, advice, SNAPSHOTS)


def skipped_steps(advice: str) -> Watch:
    """A watch for many steps that were skipped because a gradient was infinite or nan."""
    return Watch("many steps are skipped", ("steps skipped",), _skips_many, advice, SKIPPING_TICKS)


def mean(value: Any) -> float | None:
    """A statistic as one number: a number itself, or the mean of its moments. None if it is not a finite number."""
    value = value.get("mean") if isinstance(value, Mapping) else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def part(config: Config, name: str) -> dict[str, Any]:
    """A section of a nested configuration; empty if there is no such section."""
    inner = config.get(name)
    return inner if isinstance(inner, dict) else {}


def _collapsed(recent: Sequence[Means]) -> str:
    """Judges all samples, those of each class, and the distance of each sample to the one most like it."""
    shares = {name: share for name, share in recent[-1].items() if name.startswith("samples/")}
    worst = min(shares, key=lambda name: shares[name])
    if shares[worst] >= COLLAPSED:
        return ""
    if worst == "samples/nearest":
        subject = "samples differ from the ones most like them"
    else:
        of = worst.removeprefix("samples/diversity").strip()
        subject = f"pairs of samples{f' of {of}' if of else ''} differ"
    return f"{subject} by {shares[worst]:.2f} of what reals do"


def _skips_many(recent: Sequence[Means]) -> str:
    before = recent[-2]["steps skipped"] if len(recent) > 1 else 0.0
    skipped, taken = max(recent[-1]["steps skipped"] - before, 0.0), recent[-1].get("steps", 0.0)
    if skipped <= SKIPPED * (skipped + taken):
        return ""
    return f"{skipped:.0f} of the last tick's {skipped + taken:.0f} had gradients that were infinite or nan"
