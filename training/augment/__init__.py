"""Augmentations that the discriminator sees all images through (Karras et al. 2020, "Training Generative Adversarial
Networks with Limited Data", appendix B).

Every transformation is made with probability p, independently of the others, for each image by itself. Nothing waits
for the device, and no shape depends on what was drawn.
"""

from training.augment.chances import Chances, Drawn
from training.augment.config import AugmentConfig
from training.augment.pipeline import Augmentation

__all__ = ["AugmentConfig", "Augmentation", "Chances", "Drawn"]
