"""Geometric augmentations (Karras et al. 2020, ADA, appendix B, figure 17, lines 5 to 53).

Transformations are matrices [N, 3, 3] of (x, y, 1), pixels right and down from the center. Their inverses are composed.
"""

from collections.abc import Iterable
from functools import reduce
from math import pi

import torch
from torch import Tensor

from custom_ops import setup_filter, upfirdn2d
from custom_ops.grid_sample import grid_sample
from training.augment.chances import Drawn

# Orthogonal low-pass filter (Daubechies 1992, table 6.3). Its taps sum to sqrt(2).
# fmt: off
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)
# fmt: on
XINT = 0.125  # largest shift by whole pixels, as a share of the side
SCALE = 0.2  # standard deviation of the binary logarithm
ANISO = 0.2  # likewise
XFRAC = 0.125  # standard deviation of the shift, as a share of the side
MARGIN = len(SYM6) // 4  # pixels beyond the edge that influence an upsampled image


def inverse(names: frozenset[str], chances: Drawn, p: Tensor, height: int, width: int) -> Tensor:
    """The matrices [N, 3, 3] from places in the augmented images to places in the originals."""
    return reduce(_product, _steps(names, chances, p, height, width))


def _steps(names: frozenset[str], chances: Drawn, p: Tensor, height: int, width: int) -> Iterable[Tensor]:
    where, uniform, normal = chances.where, chances.uniform, chances.normal
    if "xflip" in names:
        yield _matrix(1 - 2 * where("xflip", p, (uniform("xflip") * 2).floor()), 0, 0, 0, 1, 0)
    if "rotate90" in names:
        yield _rotation(where("rotate90", p, (uniform("rotate90") * 4).floor()) * (pi / 2))
    if "xint" in names:
        x, y = (where("xint", p, uniform(f"xint {axis}") * 2 - 1) * XINT for axis in "xy")
        yield _matrix(1, 0, -(x * width).round(), 0, 1, -(y * height).round())
    if "scale" in names:
        s = torch.exp2(where("scale", p, normal("scale")) * -SCALE)
        yield _matrix(s, 0, 0, 0, s, 0)
    # Of two rotations, before and after stretching, at least one is made with probability p.
    p_rotation = 1 - (1 - p).sqrt()
    if "rotate" in names:
        yield _rotation(where("rotate", p_rotation, uniform("rotate") * 2 - 1) * pi)
    if "aniso" in names:
        s = torch.exp2(where("aniso", p, normal("aniso")) * -ANISO)
        yield _matrix(s, 0, 0, 0, 1 / s, 0)
    if "rotate" in names:
        yield _rotation(where("rotate after", p_rotation, uniform("rotate after") * 2 - 1) * pi)
    if "xfrac" in names:
        x, y = (where("xfrac", p, normal(f"xfrac {axis}")) * XFRAC for axis in "xy")
        yield _matrix(1, 0, -x * width, 0, 1, -y * height)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a b, without `matmul`, which may use TF32: ten bits are half a pixel of 512."""
    return (a[:, :, :, None] * b[:, None]).sum(dim=2)


def _rotation(angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return _matrix(cos, -sin, 0, sin, cos, 0)


def _matrix(*entries: Tensor | float) -> Tensor:
    """[N, 3, 3] from the first two rows, of tensors [N] and numbers that all images have."""
    like = next(entry for entry in entries if isinstance(entry, Tensor))
    each = [entry if isinstance(entry, Tensor) else torch.full_like(like, entry) for entry in (*entries, 0, 0, 1)]
    return torch.stack(each, dim=1).reshape(-1, 3, 3)


def mirrored(x: Tensor, dim: int, start: int, stop: int) -> Tensor:
    """Pixels start ... stop - 1 along `dim` of images that are mirrored at their first and last pixel, for ever."""
    n, flipped, parts, i = x.shape[dim], x.flip(dim), [], start  # slices, whose gradients add up in a fixed order
    while i < stop:
        phase = i % (2 * n - 2)
        source, first, end = (x, phase, n) if phase < n else (flipped, phase - n + 1, n - 1)
        length = min(end - first, stop - i)
        parts.append(source.narrow(dim, first, length))
        i += length
    return torch.cat(parts, dim)


class Resampling:
    """Resamples images from 2x2 by matrices, mirrored at the edges, without aliasing, by an orthogonal wavelet.

    The paper pads as far as the matrices of a batch reach, so the host has to wait for the device. Mirrored images are
    periodic, so here one upsampled period is enough, however far a matrix reaches.
    """

    def __init__(self, height: int, width: int, device: torch.device) -> None:
        self.height, self.width = height, width
        self.wavelet = setup_filter(SYM6, separable=True, device=device)

    def __call__(self, images: Tensor, matrix: Tensor) -> Tensor:
        """Resample images [N, C, H, W] by matrices [N, 3, 3] from places in the result to places in the images."""
        for dim, side in ((3, self.width), (2, self.height)):
            images = mirrored(images, dim, -MARGIN, 2 * side - 2 + MARGIN)  # a period, with the reach of the filter
        images = upfirdn2d(images, self.wavelet, up=2, gain=4)  # [N, C, 4 H - 3, 4 W - 3]: the first is repeated
        images = grid_sample(images, self._grid(matrix))  # [N, C, 2 H + 10, 2 W + 10]
        return upfirdn2d(images, self.wavelet, down=2, flip_filter=True)  # [N, C, H, W]

    def _grid(self, matrix: Tensor) -> Tensor:
        """Where the upsampled pixels of the result come from, [N, 2 H + 10, 2 W + 10, 2], for `grid_sample`."""
        sides, reach = (self.width, self.height), len(SYM6) // 2 - 1
        # [2 side + 10]: upsampled pixels from the center, side - 1, with the reach of the wavelet on either side.
        places = [torch.arange(-reach, 2 * side + reach, device=matrix.device) - (side - 1) for side in sides]
        x, y = (place.float() for place in places)
        coordinates = []
        for side, row in zip(sides, matrix.unbind(1), strict=False):
            a, b, shift = row[:, :, None].unbind(1)  # [N, 1] each
            by_line = b * y + (2 * shift + side - 1)  # [N, 2 H + 10]
            place = (by_line[:, :, None] + (a * x)[:, None, :]) % (4 * side - 4)
            coordinates.append((2 * place + 1) / (4 * side - 3) - 1)
        return torch.stack(coordinates, dim=3)
