"""Images that go on beyond their edges, as between two mirrors."""

import torch
from torch import Tensor


def mirrored(x: Tensor, dim: int, start: int, stop: int) -> Tensor:
    """The pixels start ... stop - 1 along `dim` of images that are mirrored at their first and last pixel, for ever.

    Mirrored like that, n pixels come again after 2 n - 2. In slices, whose gradients add up in a settled order.
    """
    n = x.shape[dim]
    turned, period = x.flip(dim), 2 * n - 2
    parts, i = [], start
    while i < stop:
        phase = i % period
        if phase < n:
            length = min(n - phase, stop - i)
            parts.append(x.narrow(dim, phase, length))
        else:
            length = min(period - phase, stop - i)
            parts.append(turned.narrow(dim, phase - n + 1, length))
        i += length
    return torch.cat(parts, dim)
