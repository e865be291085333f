"""The average w of networks whose files do not hold it."""

from collections.abc import Callable

import torch
from torch import Tensor

SAMPLES = 10_240  # the mean of so many is off by a hundredth of w's own spread
BATCH = 1_024


@torch.no_grad()
def average_w(mapping: Callable[[Tensor], Tensor], z_dim: int) -> Tensor:
    """The mean of f(z) over latents of a fixed seed.

    Args:
        mapping: f: z [N, z_dim] -> w [N, w_dim].
        z_dim: dimensions of z.

    Returns:
        [w_dim].
    """
    source = torch.Generator().manual_seed(0)
    batches = (torch.randn(BATCH, z_dim, generator=source) for _ in range(SAMPLES // BATCH))
    return torch.stack([mapping(z).mean(dim=0) for z in batches]).mean(dim=0)
