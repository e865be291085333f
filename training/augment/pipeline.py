"""All augmentations in their order."""

import torch
from torch import Tensor

from training.augment.chances import Chances
from training.augment.color import recolor
from training.augment.config import CATEGORIES
from training.augment.corruption import add_noise, cut_out
from training.augment.filtering import Filtering
from training.augment.geometry import Resampling, inverse

GEOMETRY = frozenset(CATEGORIES["blit"] + CATEGORIES["geom"])
COLOR = frozenset(CATEGORIES["color"])


class Augmentation:
    """Transforms each image of a batch at random. May be differentiated by the images any number of times.

    It works on 1, 3 and 4 channels of any height and width. Geometry, filters and cutout treat all channels alike;
    colours and noise leave the fourth, alpha, as it is, and hue and saturation a grey image.

    Args:
        names: of the transformations, as `CATEGORIES` lists them.
        height, width: of the images.
        device: where they are.
    """

    def __init__(self, names: frozenset[str], height: int, width: int, device: torch.device) -> None:
        self.names = names
        self.geometric, self.colored = names & GEOMETRY, names & COLOR
        self.resample = Resampling(height, width, device)
        self.filter = Filtering(device)

    def __call__(self, images: Tensor, p: Tensor, chances: Chances) -> Tensor:
        """Augmented images.

        Args:
            images: [N, C, H, W] in [-1, 1]; the result may go beyond.
            p: probability of each transformation, a tensor without dimensions.
            chances: what is drawn.
        """
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
