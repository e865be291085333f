"""Augmentations of the images that D sees, and adaptive augmentation."""
