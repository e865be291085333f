"""Where every pixel comes from, and fetching it (Karras et al. 2020, ADA, appendix B, figure 17, lines 5 to 53).

Transformations are matrices [N, 3, 3] that act on places (x, y, 1): pixels to the right and down from the middle of the
image. They are composed as their inverses, from the places in the augmented image to those in the original.
"""

from collections.abc import Iterable
from functools import reduce
from math import pi

import torch
from torch import Tensor

from custom_ops import setup_filter, upfirdn2d
from custom_ops.grid_sample import grid_sample
from training.augment.chances import Chances
from training.augment.mirroring import mirrored
from training.augment.wavelets import SYM6

XINT = 0.125  # largest shift by whole pixels, as a share of the side
SCALE = 0.2  # standard deviation of the binary logarithm
ANISO = 0.2
XFRAC = 0.125  # standard deviation of the shift, as a share of the side

MARGIN = len(SYM6) // 4  # pixels beyond the edge that an enlarged image hangs on


def inverse(names: frozenset[str], chances: Chances, p: Tensor, height: int, width: int) -> Tensor:
    """The matrices [N, 3, 3] that say where in the originals the places of the augmented images lie."""
    steps = [*_blitting(names, chances, p, height, width), *_general(names, chances, p, height, width)]
    return reduce(_product, steps)


def _blitting(names: frozenset[str], chances: Chances, p: Tensor, height: int, width: int) -> Iterable[Tensor]:
    """Mirrors, quarter turns, and shifts by whole pixels: what moves pixels without changing them."""
    if "xflip" in names:
        flip = _where(chances.occurs("xflip", p), (chances.uniform("xflip") * 2).floor())
        yield _scaling(1 - 2 * flip, torch.ones_like(flip))
    if "rotate90" in names:
        quarters = _where(chances.occurs("rotate90", p), (chances.uniform("rotate90") * 4).floor())
        yield _rotation(quarters * (pi / 2))
    if "xint" in names:
        occurs = chances.occurs("xint", p)
        share_x, share_y = (_where(occurs, chances.uniform(f"xint {axis}") * 2 - 1) * XINT for axis in "xy")
        yield _shift((share_x * width).round(), (share_y * height).round())


def _general(names: frozenset[str], chances: Chances, p: Tensor, height: int, width: int) -> Iterable[Tensor]:
    """Scaling, rotation, stretching and shifts by any number of pixels."""
    # Two rotations, one of them before stretching: that either is made has probability p.
    p_rotation = 1 - (1 - p).sqrt()
    if "scale" in names:
        s = torch.exp2(_where(chances.occurs("scale", p), chances.normal("scale")) * -SCALE)
        yield _scaling(s, s)
    if "rotate" in names:
        yield _turned("rotate", chances, p_rotation)
    if "aniso" in names:
        s = torch.exp2(_where(chances.occurs("aniso", p), chances.normal("aniso")) * -ANISO)
        yield _scaling(s, 1 / s)
    if "rotate" in names:
        yield _turned("rotate after", chances, p_rotation)
    if "xfrac" in names:
        occurs = chances.occurs("xfrac", p)
        share_x, share_y = (_where(occurs, chances.normal(f"xfrac {axis}")) * XFRAC for axis in "xy")
        yield _shift(share_x * width, share_y * height)


def _turned(name: str, chances: Chances, p: Tensor) -> Tensor:
    """By any angle between -pi and pi."""
    return _rotation(_where(chances.occurs(name, p), chances.uniform(name) * 2 - 1) * pi)


def _where(occurs: Tensor, value: Tensor) -> Tensor:
    return torch.where(occurs, value, 0.0)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a b, without `matmul`, which may round to ten bits where TF32 is allowed: half a pixel of 512."""
    return (a[:, :, :, None] * b[:, None]).sum(dim=2)


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    zero = torch.zeros_like(x)
    return _matrix(x, zero, zero, zero, y, zero)


def _rotation(angle: Tensor) -> Tensor:
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return _matrix(cos, -sin, zero, sin, cos, zero)


def _shift(x: Tensor, y: Tensor) -> Tensor:
    """Back: from the shifted image to the original."""
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrix(one, zero, -x, zero, one, -y)


def _matrix(*entries: Tensor) -> Tensor:
    """[N, 3, 3] of the first two rows."""
    zero, one = torch.zeros_like(entries[0]), torch.ones_like(entries[0])
    return torch.stack([*entries, zero, zero, one], dim=1).reshape(-1, 3, 3)


class Resampling:
    """Makes images whose pixels come from where matrices say, mirrored at the edges, without aliases.

    Images are enlarged twofold by an orthogonal wavelet, looked up bilinearly, and reduced by the same wavelet, which
    gives them back unchanged where the matrix is one. The paper pads as far as the matrices of a batch reach, which the
    host would have to wait for. But between two mirrors an image is periodic: one period, enlarged, is all there is to
    know, however far a matrix reaches.

    Args:
        height, width: of the images, from 2.
        device: where they are.
    """

    def __init__(self, height: int, width: int, device: torch.device) -> None:
        self.height, self.width = height, width
        self.wavelet = setup_filter(SYM6, separable=True, device=device)

    def __call__(self, images: Tensor, matrix: Tensor) -> Tensor:
        """Images [N, C, H, W] by matrices [N, 3, 3] from the places in the result to those in the images."""
        for dim, side in ((3, self.width), (2, self.height)):
            images = mirrored(images, dim, -MARGIN, 2 * side - 2 + MARGIN)  # a period, and what its enlargement needs
        images = upfirdn2d(images, self.wavelet, up=2, gain=4)  # [N, C, 4 H - 3, 4 W - 3]: the first comes again
        images = grid_sample(images, self._grid(matrix))  # [N, C, 2 H + 10, 2 W + 10]
        return upfirdn2d(images, self.wavelet, down=2, flip_filter=True)  # [N, C, H, W]

    def _grid(self, matrix: Tensor) -> Tensor:
        """Where the pixels that are to be reduced come from, [N, 2 H + 10, 2 W + 10, 2], as `grid_sample` takes it."""
        sides = (self.width, self.height)
        x, y = (self._places(side, matrix.device) for side in sides)
        coordinates = []
        for side, row in zip(sides, matrix.unbind(1), strict=False):
            a, b, shift = row[:, :, None].unbind(1)  # [N, 1] each
            by_line = b * y + (2 * shift + side - 1)  # [N, 2 H + 10]
            place = (by_line[:, :, None] + (a * x)[:, None, :]) % (4 * side - 4)
            coordinates.append((2 * place + 1) / (4 * side - 3) - 1)
        return torch.stack(coordinates, dim=3)

    @staticmethod
    def _places(side: int, device: torch.device) -> Tensor:
        """[2 side + 10]: from the middle in pixels of the enlarged image, with what the wavelet needs on either side.

        Pixel n of the images is pixel 2 n of the enlarged, where the wavelet has its weight, so the middle is side - 1.
        """
        reach = len(SYM6) // 2 - 1
        return torch.arange(-reach, 2 * side + reach, device=device, dtype=torch.float32) - (side - 1)
