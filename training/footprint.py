"""Estimates the memory of a training step with fake tensors.

Fake tensors have shape, type and life span, and no data. Memory that no tensor holds is not seen: the workspaces of
cuDNN and oneDNN, the allocator's rounding and gaps, the CUDA context.
"""

import warnings
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from training.rehearsal import rehearse
from training.stylegan2.config import StyleGAN2Config

ALIGNMENT = 512  # bytes: CUDA's allocator hands out multiples


@dataclass(frozen=True)
class Footprint:
    """Bytes held by tensors during a training step of one process."""

    networks: int  # parameters and buffers of G, D and the average of G
    gradients: int  # of G and D
    adam: int  # two moments of every parameter
    phases: dict[str, int]  # the most while each phase is taken, all of the above included

    @property
    def peak(self) -> int:
        return max(self.phases.values())


class OverLimitError(MemoryError):
    """A step would hold more than it may."""


class Ledger(TorchDispatchMode):
    """Keeps count of the memory of all tensors that come into being while it is in force, until each is freed.

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
        key = storage._cdata  # one for all tensors that look at the same memory
        if key in self._storages:
            return
        size = -(-storage.nbytes() // ALIGNMENT) * ALIGNMENT
        self._storages[key] = weakref.ref(storage, lambda _: self._free(key)), size
        self.held += size
        self.peak = max(self.peak, self.held)
        if self.limit is not None and self.held > self.limit:
            raise OverLimitError(f"{self.held} bytes, and {self.limit} may be held")

    def _free(self, key: int) -> None:
        self.held -= self._storages.pop(key)[1]


def footprint(config: StyleGAN2Config, share: int, device: torch.device, limit: int | None = None) -> Footprint:
    """What a step of a resolved configuration holds.

    Args:
        config: decides networks, number format, and how many images are computed at once.
        share: what one process has of the batch.
        device: where the step would be taken. For one that is not there, a CPU stands in, which makes the same tensors.
        limit: bytes at which to give up.

    Raises:
        OverLimitError: when the step would hold more than `limit`.
    """
    here = torch.device("cuda", 0) if device.type == "cuda" and torch.cuda.is_available() else torch.device("cpu")
    with torch.random.fork_rng(devices=[here] if here.type == "cuda" else []), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor", UserWarning)
        rehearse(_smallest(config), share, here)  # native operators are loaded and tried with real tensors
        phases: dict[str, int] = {}
        with FakeTensorMode(allow_non_fake_inputs=True), Ledger(limit) as ledger:

            def note(phase: str) -> None:
                phases[phase] = max(ledger.peak, phases.get(phase, 0))
                ledger.peak = ledger.held

            recipe = rehearse(config, share, here, note)
    gradients = sum(_size(parameter) for network in (recipe.G, recipe.D) for parameter in network.parameters())
    networks = sum(_size(t) for network in recipe.networks.values() for t in _tensors(network))
    return Footprint(networks, gradients, adam=2 * gradients, phases=phases)


def _smallest(config: StyleGAN2Config) -> StyleGAN2Config:
    """The same configuration with networks of next to nothing."""
    size = {"height": 8, "width": 8, "channel_base": 32, "channel_max": 8, "mapping_layers": 1}
    G = config.generator.model_copy(update=size | {"z_dim": 8, "w_dim": 8})
    return config.model_copy(update={"generator": G, "discriminator": config.discriminator.model_copy(update=size)})


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
