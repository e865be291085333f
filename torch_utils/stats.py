"""Running statistics: sums on the device, read once per tick."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

_COLUMNS = 4  # of sums per name: number of finite values, sum, sum of squares, number of non-finite values


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

    Sums are float64 on CPU and CUDA, float32 on other devices (mps has no float64). All processes must `add` the same
    names, since rows are summed over the processes; values of `add_scalar` stay on their process.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.dtype = torch.float64 if self.device.type in ("cpu", "cuda") else torch.float32
        self._rows: dict[str, torch.Tensor] = {}
        self._host: dict[str, list[float]] = {}

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
        columns = torch.stack([finite, x, x.square(), 1 - finite])
        if any(isinstance(v, Some) for v in values.values()):
            where = [v.where if isinstance(v, Some) else torch.ones_like(v) for v in values.values()]
            columns *= torch.cat([chosen.flatten().to(self.dtype) for chosen in where])
        parts = columns.split([v.numel() for v in each], dim=1)
        for name, part in zip(values, parts, strict=True):
            assert name not in self._host, f"{name} is already collected by add_scalar"
            sums = part.sum(dim=1)
            self._rows[name] = self._rows[name].add_(sums) if name in self._rows else sums

    def add_scalar(self, name: str, value: float) -> None:
        """Add a number that is on the host, such as a duration."""
        assert name not in self._rows, f"{name} is already collected by add"
        sums = self._host.setdefault(name, [0.0] * _COLUMNS)
        if math.isfinite(value):
            for column, term in enumerate((1.0, value, value * value)):
                sums[column] += term
        else:
            sums[3] += 1.0

    def read(self, sum_: Callable[[torch.Tensor], object] | None = None) -> dict[str, Moments]:
        """Return the statistics of every name with values since the last reading, sorted by name, and reset them.

        `sum_` sums a tensor over the processes in place; all processes must read at the same time.
        """
        names, table = self._table()
        if sum_ is not None and names:
            sum_(table)
        rows = dict(zip(names, table.tolist(), strict=True)) | self._host
        self._clear()
        return {name: _moments(*rows[name]) for name in sorted(rows) if rows[name][0] or rows[name][3]}

    def state_dict(self) -> dict[str, Any]:
        """Return the current sums: names, a tensor [names, 4] on the CPU, and the host's sums by name."""
        names, table = self._table()
        return {
            "names": names,
            "sums": table.cpu().clone(),
            "host": {name: list(sums) for name, sums in self._host.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the current sums by the sums of a `state_dict`, bit for bit."""
        table = state["sums"].to(self.device, self.dtype, copy=True)
        self._rows = dict(zip(state["names"], table, strict=True))
        self._host = {name: list(sums) for name, sums in state["host"].items()}

    def _table(self) -> tuple[list[str], torch.Tensor]:
        # Sorted, so that all processes have the same rows.
        names = sorted(self._rows)
        if not names:
            return names, torch.zeros(0, _COLUMNS, dtype=self.dtype, device=self.device)
        return names, torch.stack([self._rows[name] for name in names])

    def _clear(self) -> None:
        # Names stay, with zero sums: a name that is used only in some ticks keeps its row on every process.
        self._rows = {name: torch.zeros_like(sums) for name, sums in self._rows.items()}
        self._host = {}


def _moments(count: float, total: float, squares: float, nonfinite: float) -> Moments:
    if not count:
        return Moments(math.nan, math.nan, 0, round(nonfinite))
    mean = total / count
    variance = max(squares / count - mean * mean, 0.0)  # rounding can make it slightly negative
    return Moments(mean, math.sqrt(variance), round(count), round(nonfinite))
