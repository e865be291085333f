"""The random numbers of augmentations."""

import torch
from torch import Tensor

from training.draws import Draws

# Every number has a name. All are drawn every time, so no number depends on which augmentations are on.
TRANSFORMATIONS = (
    *("xflip", "rotate90", "xint", "scale", "rotate", "rotate after", "aniso", "xfrac"),
    *("brightness", "contrast", "lumaflip", "hue", "saturation"),
    *("filter 0", "filter 1", "filter 2", "filter 3", "noise", "cutout"),
)
UNIFORM = (
    *("xflip", "rotate90", "xint x", "xint y", "rotate", "rotate after"),
    *("lumaflip", "hue", "cutout x", "cutout y"),
)
NORMAL = (
    *("scale", "aniso", "xfrac x", "xfrac y", "brightness", "contrast", "saturation"),
    *("filter 0", "filter 1", "filter 2", "filter 3", "noise"),
)


class Drawn:
    """Random numbers, drawn for the whole batch and cut to one part, so they do not depend on the number of parts.

    Args:
        draws: of this part.
        purpose: of the images ("real", "fake"), if a phase augments several kinds.
    """

    def __init__(self, draws: Draws, purpose: str) -> None:
        self._draws, self._purpose = draws, f"augmented {purpose}"
        uniform = draws.uniforms(self._purpose, len(TRANSFORMATIONS) + len(UNIFORM)).unbind(1)
        self._gates = dict(zip(TRANSFORMATIONS, uniform[: len(TRANSFORMATIONS)], strict=True))
        self._uniform = dict(zip(UNIFORM, uniform[len(TRANSFORMATIONS) :], strict=True))
        normal = draws.latents(f"{self._purpose} normal", len(NORMAL)).unbind(1)
        self._normal = dict(zip(NORMAL, normal, strict=True))

    def uniform(self, name: str) -> Tensor:
        """A number in [0, 1) for each image, [N]. `name` is one of UNIFORM."""
        return self._uniform[name]

    def normal(self, name: str) -> Tensor:
        """A standard normal number for each image, [N]. `name` is one of NORMAL."""
        return self._normal[name]

    def grain(self, shape: torch.Size) -> Tensor:
        """A standard normal number for each pixel. `shape` is that of the images, [N, C, H, W]."""
        return self._draws.normal(f"{self._purpose} grain", shape)

    def where(self, transformation: str, p: Tensor, values: Tensor) -> Tensor:
        """The values [N] of images that get a transformation, with probability p; 0 for the others."""
        return torch.where(self._gates[transformation] < p, values, 0.0)
