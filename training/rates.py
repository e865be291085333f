"""Learning rates that change over a run, and weight decay by kind of parameter.

A schedule gives the factor of the learning rate after a number of images seen, so a resumed run needs nothing more.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

Rate = Callable[[int], float]


def constant(seen: int) -> float:
    return 1.0


def warm_up(images: int) -> Rate:
    """Linear growth from 0 to 1 over the first `images` images (Goyal et al. 2017, section 2.2)."""
    return lambda seen: min(seen / images, 1.0) if images else 1.0


def inverse_time(decay: float, batch: int) -> Rate:
    """1 / (1 + decay t), t iterations of `batch` images (Huang and Belongie 2017, in the code of the paper)."""
    return lambda seen: 1.0 / (1.0 + decay * seen / batch)


def decay_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for AdamW: matrices and kernels decay, vectors (biases, gains of norms) do not."""
    learned = list(network.parameters())
    return [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
