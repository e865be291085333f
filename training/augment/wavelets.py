"""Wavelets, and images that continue beyond their edges."""

import torch
from torch import Tensor

# Orthogonal low-pass filters (Daubechies 1992, tables 6.1 and 6.3). Their taps sum to sqrt(2).
SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
# fmt: off
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)
# fmt: on


def mirrored(x: Tensor, dim: int, start: int, stop: int) -> Tensor:
    """Pixels start ... stop - 1 along `dim` of images that are mirrored at their first and last pixel, for ever.

    n pixels have a period of 2 n - 2. Slices are used because their gradients add up in a fixed order.
    """
    n = x.shape[dim]
    flipped, period = x.flip(dim), 2 * n - 2
    parts, i = [], start
    while i < stop:
        phase = i % period
        source, first, end = (x, phase, n) if phase < n else (flipped, phase - n + 1, n - 1)
        length = min(end - first, stop - i)
        parts.append(source.narrow(dim, first, length))
        i += length
    return torch.cat(parts, dim)
