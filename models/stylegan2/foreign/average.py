"""The average w of networks whose files do not hold it."""

from collections.abc import Callable

import torch
from torch import Tensor

SAMPLES = 10_240  # the mean of so many is off by a hundredth of w's own spread
BATCH = 1_024
MOST_PRODUCTS = (
    10_240 * 2**23
)  # a few seconds of one core; a mapping of 8 layers of 1024 is the largest with all samples


@torch.no_grad()
def average_w(mapping: Callable[[Tensor], Tensor], z_dim: int, weights: int) -> tuple[Tensor, str]:
    """The mean of f(z) over latents of a fixed seed, fewer of them where the mapping is larger than any that is known.

    Args:
        mapping: f: z [N, z_dim] -> w [N, w_dim].
        z_dim: dimensions of z.
        weights: how many it has.

    Returns:
        [w_dim], and in words what it is.
    """
    batches = max(1, min(SAMPLES, MOST_PRODUCTS // weights) // BATCH)
    source = torch.Generator().manual_seed(0)
    means = [mapping(torch.randn(BATCH, z_dim, generator=source)).mean(dim=0) for _ in range(batches)]
    return torch.stack(means).mean(dim=0), f"mean of {batches * BATCH} mapped latents"
