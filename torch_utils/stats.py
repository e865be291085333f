"""Running statistics: sums on the device, read once per tick, and durations of the parts of a step."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch


@dataclass(frozen=True)
class Moments:
    """Statistics of a name since the last reading."""

    mean: float  # of the finite values; nan without any
    std: float  # population standard deviation, of the finite values
    count: int  # number of finite values
    nonfinite: int = 0  # number of inf and nan values, which mean and std exclude


class Some(NamedTuple):
    """Some of the values, such as the losses of one noise level. Selecting them by an index would wait for the device.

    Every process gives all levels, also those of which it has no values.
    """

    values: torch.Tensor
    where: torch.Tensor  # bool, of the same shape: the values that count

    def detach(self) -> "Some":
        return Some(self.values.detach(), self.where)


class Collector:
    """Sums values by name. `add` does not wait for the device; `read` waits once for all names.

    Sums are float64, on mps float32. All processes must `add` the same names, since rows are summed over them.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.dtype = torch.float64 if self.device.type in ("cpu", "cuda") else torch.float32
        self._rows: dict[str, torch.Tensor] = {}

    def add(self, name: str, values: torch.Tensor) -> None:
        """Add every element of `values`: any shape, any real dtype, on this collector's device."""
        self.add_all({name: values})

    @torch.no_grad()
    def add_all(self, values: Mapping[str, torch.Tensor | Some]) -> None:
        """Add several names with a few operations in total, instead of a dozen per name."""
        if not values:
            return
        each = [v.values if isinstance(v, Some) else v for v in values.values()]
        x = torch.cat([v.detach().flatten() for v in each]).to(self.dtype)
        finite = (x - x == 0).to(self.dtype)  # inf - inf is nan
        x = x.where(finite != 0, 0.0)  # not x * finite: 0 * inf is nan
        columns = torch.stack([finite, x, x.square(), 1 - finite])  # of sums per name
        if any(isinstance(v, Some) for v in values.values()):
            where = [v.where if isinstance(v, Some) else torch.ones_like(v) for v in values.values()]
            columns *= torch.cat([chosen.flatten().to(self.dtype) for chosen in where])
        for name, part in zip(values, columns.split([v.numel() for v in each], dim=1), strict=True):
            sums = part.sum(dim=1)
            self._rows[name] = self._rows[name].add_(sums) if name in self._rows else sums

    def read(self, sum_: Callable[[torch.Tensor], object] | None = None) -> dict[str, Moments]:
        """Return the statistics of every name with values since the last reading, sorted by name, and reset them.

        `sum_` sums a tensor over the processes in place; all processes must read at the same time.
        """
        names, table = self._table()
        if sum_ is not None and names:
            sum_(table)
        # Names stay, with zero sums: a name that is used only in some ticks keeps its row on every process.
        self._rows = {name: torch.zeros_like(sums) for name, sums in self._rows.items()}
        return {name: _moments(*row) for name, row in zip(names, table.tolist(), strict=True) if row[0] or row[3]}

    def state_dict(self) -> dict[str, Any]:
        """Return the current sums: names, and a tensor [names, 4] on the CPU. `host` is empty, a part of the format."""
        names, table = self._table()
        return {"names": names, "sums": table.cpu().clone(), "host": {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the current sums by the sums of a `state_dict`, bit for bit."""
        self._rows = dict(zip(state["names"], state["sums"].to(self.device, self.dtype, copy=True), strict=True))

    def _table(self) -> tuple[list[str], torch.Tensor]:
        names = sorted(self._rows)  # all processes have the same rows
        rows = [self._rows[name] for name in names]
        return names, torch.stack(rows) if rows else torch.zeros(0, 4, dtype=self.dtype, device=self.device)


def _moments(count: float, total: float, squares: float, nonfinite: float) -> Moments:
    if not count:
        return Moments(math.nan, math.nan, 0, round(nonfinite))
    mean = total / count
    variance = max(squares / count - mean * mean, 0.0)  # rounding can make it slightly negative
    return Moments(mean, math.sqrt(variance), round(count), round(nonfinite))


class Stopwatch:
    """Collects durations by name, by events on CUDA and by the clock elsewhere. `measure` does not wait."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._spans: dict[str, list[tuple[Any, Any]]] = {}  # beginnings and ends

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the duration of the block under `name`."""
        first = self._now()
        yield
        self._spans.setdefault(name, []).append((first, self._now()))

    def read(self) -> dict[str, float]:
        """Return mean seconds by name since the last reading. Waits for the device."""
        spans, self._spans = self._spans, {}
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            seconds = {name: [a.elapsed_time(b) / 1000 for a, b in pairs] for name, pairs in spans.items()}
        else:
            seconds = {name: [b - a for a, b in pairs] for name, pairs in spans.items()}
        return {name: sum(each) / len(each) for name, each in seconds.items()}

    def _now(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
