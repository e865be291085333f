"""The generator that samples are made with: an exponential moving average of the one in training."""

import torch
from torch import Tensor, nn


def ema_beta(batch: int, seen: int, half_life: float, ramp: float) -> float:
    """Share of the old average that is kept in one iteration (Karras et al. 2018, appendix A; here by half-life).

    Args:
        batch: images in this iteration.
        seen: images before it.
        half_life: images in which the weight of a network halves.
        ramp: the half-life is at most this share of the images seen; 0 for no ramp.

    Returns:
        0.5 ** (batch / half-life), in [0, 1).
    """
    if ramp:
        half_life = min(half_life, seen * ramp)
    return 0.5 ** (batch / max(half_life, 1e-8))


class Average:
    """`average` follows `network`. Their tensors are listed once, which takes longer than a small network's average."""

    def __init__(self, average: nn.Module, network: nn.Module) -> None:
        self.averages: list[Tensor] = list(average.parameters())
        self.parameters: list[Tensor] = list(network.parameters())
        self.buffers = list(average.buffers()), list(network.buffers())

    @torch.no_grad()
    def update(self, beta: float) -> None:
        """average = beta * average + (1 - beta) * network for every parameter; buffers are copied."""
        torch._foreach_lerp_(self.averages, self.parameters, 1 - beta)
        torch._foreach_copy_(*self.buffers)
