"""Alarms of a run, from its records.

An alarm is raised when several records in a row show the same fault, and ends when as many are healthy. Everything
follows from `stats.jsonl`, so a resumed run neither repeats nor forgets an alarm.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

from training.signs import Alarm, Config, Means, Signs, Watch, mean


class Alarms:
    """All alarms of a run, fed with its records one by one."""

    def __init__(self, signs: Signs, config: Config) -> None:
        self.raised = list(signs.before(config))  # all, in order, also those that have ended
        self._observed = [_Observed(watch) for watch in signs.watches]

    def feed(self, record: Mapping[str, Any]) -> list[Alarm]:
        """Take one record of `stats.jsonl`; return the alarms that it raised or ended."""
        means = _means(record)
        changed = [alarm for each in self._observed if (alarm := each.feed(record["seen"], means)) is not None]
        self.raised += [alarm for alarm in changed if alarm.until is None]
        return changed


class _Observed:
    """An alarm and its observations."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.recent: deque[Means] = deque(maxlen=watch.ticks + 1)
        self.alarm: Alarm | None = None  # that holds now
        self.contrary = 0  # records in a row that are faulty without an alarm, or healthy in spite of an alarm

    def feed(self, seen: int, record: Means) -> Alarm | None:
        """The alarm that is raised or ended by a record."""
        watch = self.watch
        if any(name not in record for name in watch.names):
            return None
        self.recent.append(record)
        fault = watch.judge(self.recent)
        self.contrary = self.contrary + 1 if bool(fault) != bool(self.alarm) else 0
        if self.contrary < watch.ticks:
            return None
        self.contrary = 0
        if self.alarm is None:
            self.alarm = Alarm(watch.kind, seen, fault, watch.advice)
            return self.alarm
        ended, self.alarm = self.alarm, None
        ended.until = seen
        return ended


def _means(record: Mapping[str, Any]) -> Means:
    """The means of a record, and as "steps" the number of optimizer steps that were taken."""
    means = {name: value for name, told in record.items() if (value := mean(told)) is not None}
    gradients = [told for name, told in record.items() if name.startswith("gradients/") and isinstance(told, Mapping)]
    return means | {"steps": sum(mean(told.get("count")) or 0.0 for told in gradients)}
