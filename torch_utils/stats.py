"""Running statistics of a run: sums that stay on the device and are read once a tick."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

# One row of sums per name: finite values, their sum, the sum of their squares, non-finite values.
_COLUMNS = 4


@dataclass(frozen=True)
class Moments:
    """What was collected under one name since the last reading."""

    mean: float  # of the finite values; nan when there was none
    std: float  # population standard deviation, of the finite values
    count: int  # how many were finite
    nonfinite: int = 0  # how many were inf or nan; they take no part in mean and std


class Collector:
    """Adds up values by name. `add` never waits for the device; `read` waits once for all names.

    Sums are float64, or float32 on devices other than CPU and CUDA: mps has no float64. With several processes all of
    them must `add` the same names, since the sums are put together row by row; values given to `add_scalar` are this
    process's own.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.dtype = torch.float64 if self.device.type in ("cpu", "cuda") else torch.float32
        self._rows: dict[str, torch.Tensor] = {}
        self._host: dict[str, list[float]] = {}

    def add(self, name: str, values: torch.Tensor) -> None:
        """Collects every element of `values` (any shape, any real dtype, on this collector's device)."""
        self.add_all({name: values})

    @torch.no_grad()
    def add_all(self, values: Mapping[str, torch.Tensor]) -> None:
        """As `add` for every name, in one go: the device is asked for a few operations rather than a dozen a name."""
        if not values:
            return
        x = torch.cat([v.detach().flatten() for v in values.values()]).to(self.dtype)
        finite = (x - x == 0).to(self.dtype)  # inf - inf is nan
        x = x.where(finite != 0, 0.0)  # not x * finite: 0 * inf is nan
        columns = torch.stack([finite, x, x.square(), 1 - finite])
        parts = columns.split([v.numel() for v in values.values()], dim=1)
        for name, part in zip(values, parts, strict=True):
            assert name not in self._host, f"{name} is already collected by add_scalar"
            sums = part.sum(dim=1)
            self._rows[name] = self._rows[name].add_(sums) if name in self._rows else sums

    def add_scalar(self, name: str, value: float) -> None:
        """Collects one number that is already on the host, such as a duration."""
        assert name not in self._rows, f"{name} is already collected by add"
        sums = self._host.setdefault(name, [0.0] * _COLUMNS)
        if math.isfinite(value):
            for column, term in enumerate((1.0, value, value * value)):
                sums[column] += term
        else:
            sums[3] += 1.0

    def read(self, sum_: Callable[[torch.Tensor], object] | None = None) -> dict[str, Moments]:
        """Moments of every name that was fed since the last reading, sorted by name; then starts anew.

        `sum_` adds a tensor up over the processes, in place; all of them must read at the same time.
        """
        names, table = self._table()
        if sum_ is not None and names:
            sum_(table)
        rows = dict(zip(names, table.tolist(), strict=True)) | self._host
        self._clear()
        return {name: _moments(*rows[name]) for name in sorted(rows) if rows[name][0] or rows[name][3]}

    def state_dict(self) -> dict[str, Any]:
        """The open sums: names, a tensor [names, 4] on the CPU, and the host's sums by name."""
        names, table = self._table()
        return {
            "names": names,
            "sums": table.cpu().clone(),
            "host": {name: list(sums) for name, sums in self._host.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the sums of a `state_dict`, bit for bit, in place of its own."""
        table = state["sums"].to(self.device, self.dtype, copy=True)
        self._rows = dict(zip(state["names"], table, strict=True))
        self._host = {name: list(sums) for name, sums in state["host"].items()}

    def _table(self) -> tuple[list[str], torch.Tensor]:
        # Sorted, so that processes whose names came up in another order agree about the rows.
        names = sorted(self._rows)
        if not names:
            return names, torch.zeros(0, _COLUMNS, dtype=self.dtype, device=self.device)
        return names, torch.stack([self._rows[name] for name in names])

    def _clear(self) -> None:
        # Names stay, with sums of zero: a name that is fed in some ticks only keeps its row on every process.
        self._rows = {name: torch.zeros_like(sums) for name, sums in self._rows.items()}
        self._host = {}


def _moments(count: float, total: float, squares: float, nonfinite: float) -> Moments:
    if not count:
        return Moments(math.nan, math.nan, 0, round(nonfinite))
    mean = total / count
    variance = max(squares / count - mean * mean, 0.0)  # rounding can take it a little below zero
    return Moments(mean, math.sqrt(variance), round(count), round(nonfinite))
