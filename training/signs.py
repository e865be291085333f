"""What a model's statistics mean: the words, charts and alarms that it brings to the report of a run."""

import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
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
    """A rule that raises one kind of alarm."""

    kind: str
    names: tuple[str, ...]  # statistics that a record must have to be judged
    judge: Callable[[Sequence[Means]], str]  # the means of the last `ticks + 1` such records -> the fault, or ""
    advice: str
    ticks: int = 5  # records in a row that raise the alarm, or end it


class Chart(NamedTuple):
    """Statistics that share a chart of the report. A statistic goes to the first chart that has a pattern for it."""

    title: str
    patterns: tuple[str, ...]  # of `fnmatch`, such as "loss/t *"
    healthy: str  # what the curves of a good run look like
    unit: str = ""
    section: str = "Learning"


@dataclass(frozen=True)
class Signs:
    """What the report of a run has to know about the model that it trains."""

    shown: Mapping[str, str] = field(default_factory=dict)  # statistics in the status line, and their short names
    charts: tuple[Chart, ...] = ()  # of this model's own statistics
    watches: tuple[Watch, ...] = ()
    before: Callable[[Config], Sequence[Alarm]] = lambda config: ()  # alarms that follow from the configuration alone
    diverged: str = "a smaller learning rate"  # what to try when training has diverged
    diversity: bool = True  # whether samples should vary as much as real images


class Alarms:
    """All alarms of a run, which follow from its configuration and from the records of `stats.jsonl`.

    An alarm is raised when several records in a row show the same fault, and ends when as many are healthy. So a
    resumed run, which feeds the records of its file again, neither repeats nor forgets an alarm.
    """

    def __init__(self, signs: Signs, config: Config) -> None:
        self.raised = list(signs.before(config))  # all, in order, also those that have ended
        self._watched: list[tuple[Watch, deque[Means], deque[str]]] = [
            (watch, deque(maxlen=watch.ticks + 1), deque(maxlen=watch.ticks)) for watch in signs.watches
        ]

    def feed(self, record: Mapping[str, Any]) -> list[Alarm]:
        """Take one record of `stats.jsonl`; return the alarms that it raised or ended."""
        means, changed = _means(record), []
        for watch, recent, faults in self._watched:
            if any(name not in means for name in watch.names):
                continue
            recent.append(means)
            faults.append(watch.judge(recent))
            alarm = next((one for one in self.raised if one.kind == watch.kind and one.until is None), None)
            if alarm is not None and not any(faults):
                alarm.until = record["seen"]
                changed.append(alarm)
            elif alarm is None and len(faults) == watch.ticks and all(faults):
                changed.append(Alarm(watch.kind, record["seen"], faults[-1], watch.advice))
                self.raised.append(changed[-1])
        return changed


def _means(record: Mapping[str, Any]) -> Means:
    """The means of a record, and as "steps" the number of optimizer steps that were taken."""
    means = {name: value for name, told in record.items() if (value := mean(told)) is not None}
    gradients = [told for name, told in record.items() if name.startswith("gradients/") and isinstance(told, Mapping)]
    return means | {"steps": sum(mean(told.get("count")) or 0.0 for told in gradients)}


def mean(value: Any) -> float | None:
    """A statistic as one number: a number itself, or the mean of its moments. None if it is not a finite number."""
    value = value.get("mean") if isinstance(value, Mapping) else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        return None
    return float(value)


def part(config: Config, name: str) -> dict[str, Any]:
    """A section of a nested configuration; empty if there is no such section."""
    inner = config.get(name)
    return inner if isinstance(inner, dict) else {}


def duration(seconds: float) -> str:
    """3725 -> 1h 02m 05s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24:02d}h {minutes:02d}m"
    return f"{hours}h {minutes:02d}m {rest:02d}s" if hours else f"{minutes}m {rest:02d}s"


def _collapsed(recent: Sequence[Means]) -> str:
    """Judges all samples, those of each class, and the distance of each sample to the one most like it."""
    shares = {name: share for name, share in recent[-1].items() if name.startswith("samples/")}
    worst = min(shares, key=lambda name: shares[name])
    return "" if shares[worst] >= COLLAPSED else f"{worst} is {shares[worst]:.2f} of that of reals"


def _skips_many(recent: Sequence[Means]) -> str:
    before = recent[-2]["steps skipped"] if len(recent) > 1 else 0.0
    skipped, taken = max(recent[-1]["steps skipped"] - before, 0.0), recent[-1].get("steps", 0.0)
    said = f"{skipped:.0f} of the last tick's {skipped + taken:.0f} had gradients that were infinite or nan"
    return said if skipped > SKIPPED * (skipped + taken) else ""


# For samples that are much more alike than real images, and for many steps with a gradient that was infinite or nan;
# each still needs its `advice`.
few_differences = partial(
    Watch, "the samples have lost their diversity", ("samples/diversity",), _collapsed, ticks=SNAPSHOTS
)
skipped_steps = partial(Watch, "many steps are skipped", ("steps skipped",), _skips_many, ticks=SKIPPING_TICKS)
