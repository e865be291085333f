"""Facts about networks that files leave to be computed: sizes of tensors, and the average w."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

SAMPLES = 10_240  # their mean is off by a hundredth of the spread of w
BATCH = 1_024
MOST_PRODUCTS = SAMPLES * 2**23  # a few seconds of one core: all samples of a mapping of 8 layers of width 1024


def length(tensors: Mapping[str, Tensor], name: str, axis: int) -> int:
    """The length of an axis of a tensor. Raises ValueError if the file has no such tensor."""
    if name not in tensors or tensors[name].ndim <= axis or not tensors[name].numel():
        raise ValueError(f"{name} is missing")
    return tensors[name].shape[axis]


@torch.no_grad()
def average_w(mapping: Callable[[Tensor], Tensor], z_dim: int, weights: int) -> tuple[Tensor, str]:
    """The mean of w over latents of a fixed seed, fewer of them for very large mapping networks.

    Args:
        mapping: z [N, z_dim] -> w [N, w_dim].
        z_dim: dimensions of z.
        weights: number of its weights.

    Returns:
        [w_dim], and a description for the metadata.
    """
    batches = max(1, min(SAMPLES, MOST_PRODUCTS // weights) // BATCH)
    source = torch.Generator().manual_seed(0)
    means = [mapping(torch.randn(BATCH, z_dim, generator=source)).mean(dim=0) for _ in range(batches)]
    return torch.stack(means).mean(dim=0), f"mean of {batches * BATCH} mapped latents"
