"""Estimates the memory of a training step with fake tensors (shapes only, no data).

Memory that no tensor holds is not seen: workspaces of cuDNN and oneDNN, rounding and gaps of the allocator, the CUDA
context.
"""

import warnings
import weakref
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


class Ledger(TorchDispatchMode):
    """Counts the bytes of all tensors that are created while it is in force, until each is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.held = self.peak = 0
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

    def _free(self, key: int) -> None:
        self.held -= self._storages.pop(key)[1]


def footprint(config: RunConfig, share: int, device: torch.device) -> dict[str, int]:
    """The largest number of bytes that tensors hold during each phase of a training step, by the name of the phase.

    Args:
        config: resolved; decides networks, number format, and how many images are computed at once.
        share: images of the batch for one process.
        device: where the step would run. If it is missing, a CPU stands in, which makes the same tensors.
    """
    here = torch.device("cuda", 0) if device.type == "cuda" and torch.cuda.is_available() else torch.device("cpu")
    with torch.random.fork_rng(devices=[here] if here.type == "cuda" else []), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor", UserWarning)
        # First run with real tensors: native operators are loaded and tried, and cached constants, which outlive this
        # function, must not be fake tensors.
        rehearse(find(config.model).smallest(config), share, here)
        phases: dict[str, int] = {}
        with FakeTensorMode(allow_non_fake_inputs=True), Ledger() as ledger:

            def note(phase: str) -> None:
                phases[phase] = max(ledger.peak, phases.get(phase, 0))
                ledger.peak = ledger.held

            rehearse(config, share, here, note)
    return phases
