"""Kernel inception distance (Bińkowski et al. 2018): the squared maximum mean discrepancy of features, without bias.

Letters: N M points, D dimensions, m points of a subset.
"""

import numpy as np
import torch
from torch import Tensor

from metrics.sharing import dealt

SUBSETS, LARGEST = 100, 1000


def kernel_distance(real: Tensor, fake: Tensor, seed: int = 0) -> float:
    """Mean over 100 pairs of random subsets of up to 1000 points; about 0 for equal distributions, and may lie below.

    The pairs are dealt to all processes, each of which must have the same features.

    Args:
        real: features of real images, [M, D].
        fake: features of samples, [N, D].
        seed: of the subsets.

    Raises:
        ValueError: when the features do not fit each other, or a set has fewer than two points.
    """
    if real.shape[1:] != fake.shape[1:]:
        raise ValueError(f"features have equal dimensions, got {list(real.shape)} and {list(fake.shape)}")
    size = min(len(real), len(fake), LARGEST)
    if size < 2:
        raise ValueError(f"a kernel distance needs at least 2 points of each set, got {size}")
    draw = np.random.RandomState(seed)
    drawn = [[draw.choice(len(part), size, replace=False) for part in (fake, real)] for _ in range(SUBSETS)]

    def compute(subset: slice) -> Tensor:
        y, x = (
            part[torch.from_numpy(own)].double() for part, own in zip((fake, real), drawn[subset.start], strict=True)
        )
        return discrepancy(x, y)

    return dealt(SUBSETS, 1, compute, real.new_zeros([], dtype=torch.float64)).mean().item()


def discrepancy(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased estimate of the squared discrepancy of points [m, D] and [m, D] (equation 4)."""
    m = len(x)
    within = sum((k.sum() - k.diagonal().sum()) / (m * (m - 1)) for k in (kernel(x, x), kernel(y, y)))
    return within - 2 * kernel(x, y).mean()


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """The cubic kernel (x' y / D + 1)^3 of points [m, D] and [n, D], [m, n]."""
    return (x @ y.T / x.shape[1] + 1) ** 3
