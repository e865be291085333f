"""Estimates the memory of a training step with fake tensors (shapes only, no data).

Memory that no tensor holds is not seen: workspaces of cuDNN and oneDNN, rounding and gaps of the allocator, the CUDA
context.
"""

import warnings
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from system.private import FakeTensorMode, storage_key
from training.config import RunConfig
from training.courses import find
from training.rehearsal import rehearse

ALIGNMENT = 512  # bytes: CUDA's allocator hands out multiples


@dataclass(frozen=True)
class Footprint:
    """Bytes that tensors hold during a training step of one process."""

    networks: int  # parameters and buffers
    gradients: int
    optimizers: int  # moments of the parameters that learn
    phases: dict[str, int]  # largest total during each phase

    @property
    def peak(self) -> int:
        return max(self.phases.values())


class OverLimitError(MemoryError):
    """A step would hold more than its limit."""


class Ledger(TorchDispatchMode):
    """Counts the bytes of all tensors that are created while it is in force, until each is freed.

    Args:
        limit: bytes; OverLimitError is raised when more would be held.
    """

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self.held = self.peak = 0
        self.limit = limit
        self._storages: dict[int, tuple[weakref.ref[torch.UntypedStorage], int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._enter(tensor.untyped_storage())
        return out

    def _enter(self, storage: torch.UntypedStorage) -> None:
        key = storage_key(storage)
        if key in self._storages:
            return
        size = -(-storage.nbytes() // ALIGNMENT) * ALIGNMENT
        self._storages[key] = weakref.ref(storage, lambda _: self._free(key)), size
        self.held += size
        self.peak = max(self.peak, self.held)
        if self.limit is not None and self.held > self.limit:
            raise OverLimitError(f"{self.held} bytes exceed the limit of {self.limit}")

    def _free(self, key: int) -> None:
        self.held -= self._storages.pop(key)[1]


def footprint(config: RunConfig, share: int, device: torch.device, limit: int | None = None) -> Footprint:
    """The memory of a training step of a resolved configuration.

    Args:
        config: decides networks, number format, and how many images are computed at once.
        share: images of the batch for one process.
        device: where the step would run. If this machine lacks it, a CPU is used, which makes the same tensors.
        limit: bytes at which to give up.

    Raises:
        OverLimitError: the step would hold more than `limit`.
    """
    here = torch.device("cuda", 0) if device.type == "cuda" and torch.cuda.is_available() else torch.device("cpu")
    with torch.random.fork_rng(devices=[here] if here.type == "cuda" else []), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor", UserWarning)
        # First run with real tensors: native operators are loaded and tried, and cached constants, which outlive this
        # function, must not be fake tensors.
        rehearse(find(config.model).smallest(config), share, here)
        phases: dict[str, int] = {}
        with FakeTensorMode(allow_non_fake_inputs=True), Ledger(limit) as ledger:

            def note(phase: str) -> None:
                phases[phase] = max(ledger.peak, phases.get(phase, 0))
                ledger.peak = ledger.held

            recipe = rehearse(config, share, here, note)
    optimizers = {phase.optimizer for phase in recipe.phases}
    learned = {p for phase in recipe.phases for p in phase.parameters}
    networks = (t for network in recipe.networks.values() for t in [*network.parameters(), *network.buffers()])
    moments = (t for optimizer in optimizers for state in optimizer.state.values() for t in state.values())
    return Footprint(_size(networks), _size(learned), _size(moments), phases)


def _size(tensors: Iterable[Any]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, Tensor))
