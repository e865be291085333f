"""The random numbers that augmentations are made of."""

from typing import Protocol

import torch
from torch import Tensor

from training.draws import Draws

# Every number by its name. All of them are drawn whatever is done, so that none depends on which augmentations are on.
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


class Chances(Protocol):
    """Where augmentations get their numbers from; each is a tensor with a number for every image, [N]."""

    def occurs(self, transformation: str, p: Tensor) -> Tensor:
        """Whether a transformation in TRANSFORMATIONS is made, with probability p."""

    def uniform(self, name: str) -> Tensor:
        """Numbers in [0, 1), of a name in UNIFORM."""

    def normal(self, name: str) -> Tensor:
        """Standard normal numbers, of a name in NORMAL."""

    def grain(self, shape: torch.Size) -> Tensor:
        """Standard normal numbers of the images' shape [N, C, H, W]."""


class Drawn:
    """Chances drawn for the whole batch and cut to this part, so that they do not depend on how it is dealt.

    Args:
        draws: of this part.
        purpose: what the images are, where a phase looks at several.
    """

    def __init__(self, draws: Draws, purpose: str) -> None:
        self._draws, self._purpose = draws, f"augmented {purpose}"
        uniform = draws.uniforms(self._purpose, len(TRANSFORMATIONS) + len(UNIFORM)).unbind(1)
        self._gates = dict(zip(TRANSFORMATIONS, uniform[: len(TRANSFORMATIONS)], strict=True))
        self._uniform = dict(zip(UNIFORM, uniform[len(TRANSFORMATIONS) :], strict=True))
        normal = draws.latents(f"{self._purpose} normal", len(NORMAL)).unbind(1)
        self._normal = dict(zip(NORMAL, normal, strict=True))

    def occurs(self, transformation: str, p: Tensor) -> Tensor:
        return self._gates[transformation] < p

    def uniform(self, name: str) -> Tensor:
        return self._uniform[name]

    def normal(self, name: str) -> Tensor:
        return self._normal[name]

    def grain(self, shape: torch.Size) -> Tensor:
        return self._draws.normal(f"{self._purpose} grain", shape)
