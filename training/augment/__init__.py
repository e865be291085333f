"""Augmentations of all images that the discriminator sees (Karras et al. 2020, "Training Generative Adversarial
Networks with Limited Data", appendix B).

Each transformation has probability p, for each image and independently of the others. Nothing waits for the device, and
no shape depends on random numbers.
"""

from training.augment.chances import Drawn
from training.augment.config import AugmentConfig
from training.augment.pipeline import Augmentation

__all__ = ["AugmentConfig", "Augmentation", "Drawn"]
