"""Alarms: what the statistics of a run say when it goes wrong, and what to try.

An alarm is raised when a run's records have shown the same ill for several ticks, and is over when they have shown its
absence for as many. All of it follows from the records in `stats.jsonl`, so a resumed run neither repeats nor forgets.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from training.report.history import mean, part
from training.stylegan2 import presets

Means = dict[str, float]  # one record: names and means

TICKS = 5  # a tick or two of any ill are chance
IMAGES = 4000  # one ordinary tick: where ticks are made short, five of them are moments
# Healthy runs of the demo faces begin with signs of 0.85 and go to 0.5; D's ADA target is 0.6.
NEAR = 0.95
# D's loss is 2 ln 2 = 1.39 if it cannot tell reals from fakes, and 0 if it always can. A smaller change than this over
# the watched ticks counts as standing still.
FLAT = 0.1
# Of pairs only the difference of scores counts, so signs say nothing. The loss is ln 2 = 0.69 where D knows nothing;
# this is what it is where every real is placed higher than its fake by 3.
PAIRS_WON = 0.05
# p is limited to 1; where it is this near, ADA would go on if it could.
CEILING = 0.95
# The least varied sheet of a healthy run of the demo faces, blurred after 10 kimg, has 0.49 of the reals' distances.
COLLAPSED = 0.3
SNAPSHOTS = 2
# The papers' presets lie up to 5 times beside the rule; those who tune go by factors of 2 and 4.
FAR = 20.0
# Float16 overflows now and then; one step in a hundred is no longer now and then.
SKIPPED = 0.01
SKIPPING_TICKS = 3


@dataclass(frozen=True)
class Alarm:
    """Something that went wrong: between which counts of images, what was seen, and what to try."""

    kind: str
    since: int
    text: str
    advice: str
    until: int | None = None  # None: it still holds

    @property
    def sentence(self) -> str:
        return f"{self.kind}: {self.text}; {self.advice}"


@dataclass
class Watch:
    """Looks out for one kind of ill.

    `judge` gets the means of the last few records that bear all `names`, the newest last, and returns what is wrong in
    words, or nothing.
    """

    kind: str
    names: tuple[str, ...]
    judge: Callable[[Sequence[Means]], str]
    advice: str
    ticks: int = TICKS
    from_health: bool = False  # raised only after a time without
    _recent: deque[Means] = field(init=False)
    _row: int = 0  # records in a row with the same verdict
    _ill: bool = False  # that verdict
    _began: int = 0  # images seen before that row
    _last: int = 0
    _was_well: bool = False

    def __post_init__(self) -> None:
        self._recent = deque(maxlen=self.ticks + 1)

    def feed(self, seen: int, record: Means, holds: bool) -> str | None:
        """What is wrong, "" when it no longer is, or None when nothing has changed; `holds` says whether it is on."""
        if any(name not in record for name in self.names):
            return None
        self._recent.append(record)
        text = self.judge(self._recent)
        if bool(text) != self._ill or not self._row:
            self._ill, self._row, self._began = bool(text), 0, self._last
        self._row, self._last = self._row + 1, seen
        self._was_well |= not self._ill
        if self._ill == holds or self._row < self.ticks or (self._ill and seen - self._began < IMAGES):
            return None
        return None if self._ill and self.from_health and not self._was_well else text


class Alarms:
    """All alarms of a run, fed with its records one by one.

    Args:
        config: of the run, nested, as in `config.json`; without one nothing is said of it.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.raised: list[Alarm] = []  # in the order in which they came
        self._watches = _watches()
        if text := far_gamma(config or {}):
            self.raised.append(Alarm("gamma is far from the rule", 0, text, "try the rule's value, unless it is meant"))

    @property
    def open(self) -> list[Alarm]:
        """Those that hold now."""
        return [alarm for alarm in self.raised if alarm.until is None]

    def feed(self, record: Mapping[str, Any]) -> list[Alarm]:
        """Takes one record of `stats.jsonl`; returns the alarms that this raised or ended."""
        seen, means = record["seen"], _means(record)
        changed = []
        for watch in self._watches:
            holding = next((alarm for alarm in self.open if alarm.kind == watch.kind), None)
            text = watch.feed(seen, means, holding is not None)
            if text:
                self.raised.append(Alarm(watch.kind, seen, text, watch.advice))
                changed.append(self.raised[-1])
            elif text is not None and holding is not None:
                ended = replace(holding, until=seen)
                self.raised[self.raised.index(holding)] = ended
                changed.append(ended)
        return changed


def alarms(records: Iterable[Mapping[str, Any]], config: Mapping[str, Any] | None = None) -> list[Alarm]:
    """All alarms of a run's records, those that are over included."""
    watched = Alarms(config)
    for record in records:
        watched.feed(record)
    return watched.raised


def far_gamma(config: Mapping[str, Any]) -> str:
    """What is to be said of a gamma that lies far from the rule of `auto`, and from what the preset means it to be.

    "" where nothing is: 0 goes without on purpose.
    """
    image, loss = part(config, "generator"), part(config, "loss")
    gamma = loss.get("gamma")
    sizes = (image.get("height"), image.get("width"), part(config, "pace").get("batch"))
    if not isinstance(gamma, int | float) or not all(isinstance(size, int) and size > 0 for size in sizes):
        return ""
    if loss.get("kind", "logistic") != "logistic":
        return ""  # the rule was found for that loss
    height, width, batch = (int(size) for size in sizes if size)
    rule = presets.gamma_rule(height, width, batch)
    meant = presets.preset_gamma(str(config.get("preset")), height, width, batch)
    if gamma <= 0 or any(value / FAR <= gamma <= value * FAR for value in (rule, meant)):
        return ""
    times = f"{gamma / rule:,.0f} times" if gamma > rule else f"1/{rule / gamma:,.0f} of"
    return f"--gamma {gamma:g} is {times} the {rule:.3g} that suits {height}x{width} with --batch {batch}"


def d_has_won(recent: Sequence[Means]) -> str:
    """D tells every real from every fake, and its loss stands still."""
    now = recent[-1]
    real, fake = now["signs/real"], now["signs/fake"]
    losses = [loss for record in recent if (loss := _loss_of_d(record)) is not None]
    if losses and abs(losses[-1] - losses[0]) > FLAT:
        return ""
    if "loss/D pair" in now:
        won = now["loss/D pair"] <= PAIRS_WON
        return f"it places the reals above the fakes, at a loss of {losses[-1]:.2g}" if won else ""
    if real < NEAR or fake > -NEAR:
        return ""
    at = f", at a loss of {losses[-1]:.2g}" if losses else ""
    return f"it knows {_share(real)} of the reals and {_share(-fake)} of the fakes{at}"


def p_at_ceiling(recent: Sequence[Means]) -> str:
    """ADA has raised p as far as it goes."""
    p = recent[-1]["augment/p"]
    return f"p is {p:.2f}, and D still overfits" if p >= CEILING else ""


def collapsed(recent: Sequence[Means]) -> str:
    """The fakes are much more alike than the reals: all of them, those of a class, or each to its nearest."""
    shares = {name: share for name, share in recent[-1].items() if name.startswith("samples/")}
    worst = min(shares, key=lambda name: shares[name])
    if shares[worst] >= COLLAPSED:
        return ""
    of = worst.removeprefix("samples/diversity").strip()
    which = {"": "pairs of fakes differ", "samples/nearest": "fakes differ from the ones most like them"}
    words = which.get(of, f"pairs of fakes of {of} differ")
    return f"{words} by {shares[worst]:.2f} of what reals do"


def skips_many(recent: Sequence[Means]) -> str:
    """Many steps of the last tick were skipped."""
    before = recent[-2]["steps skipped"] if len(recent) > 1 else 0.0
    skipped, taken = max(recent[-1]["steps skipped"] - before, 0.0), recent[-1].get("steps", 0.0)
    if skipped <= SKIPPED * (skipped + taken) or not skipped:
        return ""
    return f"{skipped:.0f} of the last tick's {skipped + taken:.0f} had gradients that were infinite or nan"


def _watches() -> list[Watch]:
    return [
        Watch(
            "D has won",
            ("signs/real", "signs/fake"),
            d_has_won,
            "try more images, --aug ada, a larger --gamma, or --transfer from a trained network",
        ),
        Watch(
            "the fakes have lost their diversity",
            ("samples/diversity",),
            collapsed,
            "try --transfer from an earlier network of this run, a larger --gamma, or --aug ada",
            ticks=SNAPSHOTS,
        ),
        Watch(
            "p is at its ceiling",
            ("augment/p",),
            p_at_ceiling,
            "try more images, another --augpipe, or --transfer from a trained network",
            from_health=True,  # a p that was never lower was fixed there
        ),
        Watch(
            "many steps are skipped",
            ("steps skipped",),
            skips_many,
            "try --precision fp32, a larger --gamma, or smaller learning rates",
            ticks=SKIPPING_TICKS,
        ),
    ]


def _means(record: Mapping[str, Any]) -> Means:
    """The means of a record, and under `steps` the number of steps that were taken."""
    means = {name: value for name, told in record.items() if (value := mean(told)) is not None}
    told = (value for name, value in record.items() if name.startswith("gradients/"))
    counts = [mean(value.get("count")) or 0.0 for value in told if isinstance(value, Mapping)]
    return means | {"steps": sum(counts)}


def _loss_of_d(record: Means) -> float | None:
    halves = [record[name] for name in ("loss/D fake", "loss/D real", "loss/D pair") if name in record]
    return sum(halves) if halves else None


def _share(sign: float) -> str:
    """A mean sign of 0.98 is that of 99 % on one side."""
    return f"{50 + 50 * sign:.3g} %"
