"""The losses of StyleGAN2 as pure functions. N: batch, H, W: size, L: layers, D: width of w."""

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor


def generator_loss(fake_scores: Tensor) -> Tensor:
    """Non-saturating logistic loss -log(sigmoid(D(G(z)))) of each sample (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-fake_scores)


def discriminator_fake_loss(fake_scores: Tensor) -> Tensor:
    """-log(1 - sigmoid(D(G(z)))) of each generated sample (Goodfellow et al. 2014, equation 1)."""
    return F.softplus(fake_scores)


def discriminator_real_loss(real_scores: Tensor) -> Tensor:
    """-log(sigmoid(D(x))) of each real sample (Goodfellow et al. 2014, equation 1)."""
    return F.softplus(-real_scores)


def relativistic_loss(winner_scores: Tensor, loser_scores: Tensor) -> Tensor:
    """-log(sigmoid(D(winner) - D(loser))) of each pair (RpGAN; Jolicoeur-Martineau 2019; Huang et al. 2024, section 2).

    For D the real of a pair is to win, for G the fake. A G that makes one picture alone cannot satisfy all pairs.
    """
    return F.softplus(loser_scores - winner_scores)


def gradient_penalty(images: Tensor, scores: Tensor) -> Tensor:
    """Squared norm of the gradient of each image's score, [N]: R1 for real, R2 for generated images, without gamma / 2.

    Mescheder et al. 2018, equations 9 and 10; Huang et al. 2024, section 2. `images` [N, C, H, W] require gradients.
    """
    (gradients,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return gradients.square().sum(dim=[1, 2, 3])


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """Length |J^T y| of each sample, J the Jacobian of the image by w (Karras et al. 2020, equation 4), [N].

    `images` [N, C, H, W] are g(`ws`), [N, L, D], which require gradients; y is standard normal `noise` / sqrt(H W). The
    square is averaged over layers, so that the length does not depend on the number of copies of w.
    """
    H, W = images.shape[2:]
    y = noise / sqrt(H * W)
    (gradients,) = torch.autograd.grad((images * y).sum(), ws, create_graph=True)  # J^T y, [N, L, D]
    return gradients.square().sum(dim=2).mean(dim=1).sqrt()


def path_length_mean(mean: Tensor, lengths: Tensor, decay: float) -> Tensor:
    """The running mean a of path lengths, moved towards this batch; gradients flow through it."""
    return mean.lerp(lengths.mean(), decay)


def path_penalty(lengths: Tensor, mean: Tensor) -> Tensor:
    """(|J^T y| - a)^2 of each sample (Karras et al. 2020, equation 4)."""
    return (lengths - mean).square()
