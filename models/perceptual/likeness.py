"""Losses between images, as vectors of images whose squared distance is the loss.

`pyramid_vectors` needs no pretrained network. Pixels alone judge an edge that is shifted slightly as harshly as a
missing edge. Smaller sizes forgive shifts, and gradients ask for the edges themselves (Mathieu et al. 2016, section
3.2; sizes as in the Laplacian pyramid of Bojanowski et al. 2018).
Letters: N batch, C channels, H W size, S number of sizes.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from models.perceptual.extractors import to_rgb

Embed = Callable[[Tensor], Tensor]  # images [N, C, H, W] in [-1, 1] -> vectors [N, D]

LARGEST = 256  # pixels of a side for LPIPS (Karras et al. 2020, appendix D)
LEAST = 8  # pixels of a side of the smallest pyramid level


def pyramid_vectors(images: Tensor, gradient: float = 1.0) -> Tensor:
    """Images [N, C, H, W] -> vectors [N, D] whose squared distance is

        1/S  sum over the sizes of  MSE(x, y) + gradient * (MSE(dx/dh, dy/dh) + MSE(dx/dv, dy/dv))

    where d/dh and d/dv are the differences of neighboring pixels.
    """
    sizes = pyramid(images)
    parts = []
    for x in sizes:
        maps = [(x, 1.0), (x.diff(dim=3), gradient), (x.diff(dim=2), gradient)]
        parts += [m.flatten(1) * (weight / (len(sizes) * m[0].numel())) ** 0.5 for m, weight in maps if m.numel()]
    return torch.cat(parts, dim=1)


def pyramid(images: Tensor) -> list[Tensor]:
    """The images, and their halves by averages of 2 x 2 pixels while the shorter side has at least 8 pixels."""
    sizes = [images]
    while min(sizes[-1].shape[2:]) >= 2 * LEAST:
        sizes.append(F.avg_pool2d(sizes[-1], 2))
    return sizes


def perceptual_likeness(lpips: Embed) -> Embed:
    """LPIPS plus the mean squared error of the pixels (Abdal et al. 2019, equation 1, with LPIPS for VGG).

    Args:
        lpips: RGB pixels [N, 3, H, W] in 0..255 -> vectors whose squared distance is LPIPS.
    """
    return lambda images: torch.cat(
        [lpips(to_rgb(for_lpips(images))), images.flatten(1) / images[0].numel() ** 0.5], dim=1
    )


def for_lpips(images: Tensor) -> Tensor:
    """Images [N, C, H, W] in [-1, 1] -> pixels in 0..255, not rounded; averaged down if larger than 256 pixels."""
    factor = _factor(*images.shape[2:])
    return ((F.avg_pool2d(images, factor) if factor > 1 else images) + 1) * (255 / 2)


def lpips_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of what `for_lpips` returns for images of this size."""
    factor = _factor(height, width)
    return height // factor, width // factor


def _factor(height: int, width: int) -> int:
    return max(max(height, width) // LARGEST, 1)
