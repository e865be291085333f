"""Augmentations of all images that D sees, each with probability p, independently, for each image (Karras et al. 2020,
"Training Generative Adversarial Networks with Limited Data", appendix B). Nothing waits for the device.
"""

import torch
from torch import Tensor

from training.augment.chances import Drawn
from training.augment.color import Filtering, add_noise, cut_out, recolor
from training.augment.config import CATEGORIES
from training.augment.geometry import Resampling, inverse

GEOMETRY = frozenset(CATEGORIES["blit"] + CATEGORIES["geom"])
COLOR = frozenset(CATEGORIES["color"])


class Augmentation:
    """Random transformations, named as in `CATEGORIES`, of images of 1, 3 or 4 channels; differentiable any times.

    Color and noise leave alpha, the fourth channel, unchanged; hue and saturation leave gray images unchanged.
    """

    def __init__(self, names: frozenset[str], height: int, width: int, device: torch.device) -> None:
        self.names, self.geometric, self.colored = names, names & GEOMETRY, names & COLOR
        self.resample = Resampling(height, width, device)
        self.filter = Filtering(device)

    def __call__(self, images: Tensor, p: Tensor, chances: Drawn) -> Tensor:
        """Augment images [N, C, H, W] in [-1, 1], each transformation with probability `p`; may exceed this range."""
        if self.geometric:
            images = self.resample(images, inverse(self.geometric, chances, p, *images.shape[2:]))
        if self.colored:
            images = recolor(images, self.colored, chances, p)
        if "imgfilter" in self.names:
            images = self.filter(images, chances, p)
        if "noise" in self.names:
            images = add_noise(images, chances, p)
        if "cutout" in self.names:
            images = cut_out(images, chances, p)
        return images
