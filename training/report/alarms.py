"""Alarms of a run, from its records.

An alarm is raised when several records in a row show the same fault, and ends when as many are healthy. Everything
follows from `stats.jsonl`, so a resumed run neither repeats nor forgets an alarm.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from training.signs import Alarm, Config, Means, Signs, Watch, mean

IMAGES = 4000  # a fault must last for an ordinary tick at least, since five very short ticks are only moments


@dataclass
class _Observation:
    """What a watch has seen."""

    watch: Watch
    recent: deque[Means] = field(default_factory=deque)
    faulty: bool = False  # the last verdict
    row: int = 0  # records in a row with this verdict
    began: int = 0  # images seen before that row
    last: int = 0
    was_healthy: bool = False

    def feed(self, seen: int, record: Means, holds: bool) -> str | None:
        """Return the fault, "" if it has ended, None if nothing has changed. `holds`: the alarm is on."""
        watch = self.watch
        if any(name not in record for name in watch.names):
            return None
        self.recent = deque([*self.recent, record], maxlen=watch.ticks + 1)
        text = watch.judge(self.recent)
        if bool(text) != self.faulty or not self.row:
            self.faulty, self.row, self.began = bool(text), 0, self.last
        self.row, self.last = self.row + 1, seen
        self.was_healthy |= not self.faulty
        if self.faulty == holds or self.row < watch.ticks:
            return None
        if self.faulty and (seen - self.began < IMAGES or (watch.from_health and not self.was_healthy)):
            return None
        return text


class Alarms:
    """All alarms of a run, fed with its records one by one."""

    def __init__(self, signs: Signs, config: Config) -> None:
        self.raised = list(signs.before(config))  # all, in order, also those that have ended
        self._observations = [_Observation(watch) for watch in signs.watches]

    @property
    def open(self) -> list[Alarm]:
        """The alarms that hold now."""
        return [alarm for alarm in self.raised if alarm.until is None]

    def feed(self, record: Mapping[str, Any]) -> list[Alarm]:
        """Take one record of `stats.jsonl`; return the alarms that it raised or ended."""
        seen, means = record["seen"], _means(record)
        changed = []
        for observation in self._observations:
            watch = observation.watch
            held = next((alarm for alarm in self.open if alarm.kind == watch.kind), None)
            text = observation.feed(seen, means, held is not None)
            if text:
                self.raised.append(Alarm(watch.kind, seen, text, watch.advice))
                changed.append(self.raised[-1])
            elif text is not None and held is not None:
                changed.append(replace(held, until=seen))
                self.raised[self.raised.index(held)] = changed[-1]
        return changed


def _means(record: Mapping[str, Any]) -> Means:
    """The means of a record, and as "steps" the number of optimizer steps that were taken."""
    means = {name: value for name, told in record.items() if (value := mean(told)) is not None}
    gradients = [told for name, told in record.items() if name.startswith("gradients/") and isinstance(told, Mapping)]
    return means | {"steps": sum(mean(told.get("count")) or 0.0 for told in gradients)}
