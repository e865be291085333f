"""Denoising networks, and classifiers of noisy pictures, in training."""
