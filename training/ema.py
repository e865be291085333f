"""Exponential moving averages of a network in training."""

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def ema_beta(batch: int, seen: int, half_life: float, ramp: float) -> float:
    """The share of the old average that is kept in one iteration (Karras et al. 2018, appendix A; here by half-life).

    Args:
        batch: images in this iteration.
        seen: images before this iteration.
        half_life: images in which the weight of a network halves.
        ramp: limit of the half-life as a share of the images seen; 0 for no limit.

    Returns:
        0.5 ** (batch / half-life), in [0, 1).
    """
    if ramp:
        half_life = min(half_life, seen * ramp)
    return 0.5 ** (batch / max(half_life, 1e-8))


class Average(Generic[Network]):
    """An average of a network. A recipe may keep several, with different half-lives.

    Args:
        network: is averaged; buffers are copied.
        half_life: images in which the weight of a network halves.
        ramp: limit of the half-life as a share of the images seen; 0 for no limit.

    Attributes:
        network: the average, as a network.
    """

    def __init__(self, network: Network, half_life: float, ramp: float = 0.0) -> None:
        self.network = copy.deepcopy(network).eval()
        self.half_life, self.ramp = half_life, ramp
        # Listed once: to collect the tensors takes longer than to average a small network.
        self._averaged: list[Tensor] = list(self.network.parameters())
        self._learned: list[Tensor] = list(network.parameters())
        self._buffers = list(self.network.buffers()), list(network.buffers())

    @torch.no_grad()
    def update(self, batch: int, seen: int) -> None:
        """Average in the network after an iteration of `batch` images, `seen` images into the run."""
        beta = ema_beta(batch, seen, self.half_life, self.ramp)
        torch._foreach_lerp_(self._averaged, self._learned, 1 - beta)
        if self._buffers[0]:
            torch._foreach_copy_(*self._buffers)
