"""Adam with lazy regularization."""

from collections.abc import Iterable

import torch
from torch import nn


def adam(
    parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float], epsilon: float, interval: int
) -> torch.optim.Adam:
    """Adam for parameters that are regularized in a step of their own every `interval` iterations.

    Such parameters take interval + 1 steps in `interval` iterations. With r = interval / (interval + 1), the learning
    rate is multiplied by r and each beta raised to the power r, so that Adam's memory, in iterations, is that of one
    step an iteration (lazy regularization, Karras et al. 2020, appendix B). An interval of 0 corrects nothing.
    """
    r = interval / (interval + 1) if interval else 1.0
    learning = list(parameters)
    fused = not learning[0].is_meta  # parameters without memory are never stepped
    return torch.optim.Adam(learning, lr=lr * r, betas=(betas[0] ** r, betas[1] ** r), eps=epsilon, fused=fused)
