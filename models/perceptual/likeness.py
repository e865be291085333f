"""By what an image is fitted to another: vectors of images whose squared distance is the loss."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from models.perceptual.opening import to_rgb
from models.perceptual.pyramid import pyramid_vectors

Embed = Callable[[Tensor], Tensor]  # images [N, C, H, W] in [-1, 1] -> vectors [N, D]

LARGEST = 256  # pixels of a side that LPIPS looks at (Karras et al. 2020, appendix D)


def pixel_likeness() -> Embed:
    """Pixels and gradients at several sizes, `pyramid_vectors`: needs no pretrained network."""
    return pyramid_vectors


def perceptual_likeness(lpips: Embed) -> Embed:
    """LPIPS and the mean squared error of the pixels, added (Abdal et al. 2019, equation 1, with LPIPS for VGG).

    Args:
        lpips: RGB pixels [N, 3, H, W] in 0..255 -> vectors whose squared distance is LPIPS.
    """

    def embed(images: Tensor) -> Tensor:
        seen = lpips(to_rgb(for_lpips(images)))
        pixels = images.flatten(1) / images[0].numel() ** 0.5
        return torch.cat([seen, pixels], dim=1)

    return embed


def for_lpips(images: Tensor) -> Tensor:
    """Images [N, C, H, W] in [-1, 1] -> pixels in 0..255, not rounded; those of over 256 pixels are averaged down."""
    factor = _factor(*images.shape[2:])
    if factor > 1:
        images = F.avg_pool2d(images, factor)
    return (images + 1) * (255 / 2)


def lpips_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of what `for_lpips` makes of images of this size."""
    factor = _factor(height, width)
    return height // factor, width // factor


def _factor(height: int, width: int) -> int:
    return max(max(height, width) // LARGEST, 1)
