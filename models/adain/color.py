"""Keeping a content's colors: its own hues under the made brightness, or a style in its colors from the start."""

import torch
from torch import Tensor

EPSILON = 1e-5
YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))  # NTSC


def with_colors_of(picture: Tensor, content: Tensor) -> Tensor:
    """A picture's luminance with the content's colors (Gatys et al. 2016b, section 5.1); both [N, 3, H, W]."""
    matrix = torch.tensor(YIQ, dtype=picture.dtype, device=picture.device)
    made, own = (torch.einsum("ij,njhw->nihw", matrix, each) for each in (picture, content))
    return torch.einsum("ij,njhw->nihw", torch.linalg.inv(matrix), torch.cat([made[:, :1], own[:, 1:]], dim=1))


def match_colors(style: Tensor, content: Tensor, published: bool = False) -> Tensor:
    """A style picture whose colors have the content's mean and covariance (CORAL, Sun et al. 2016).

    Args:
        style, content: [3, H, W] of any two sizes.
        published: add up the covariances over pixels, as published programs do, which is right for equally many pixels
            only: otherwise the deviation is off by the root of the ratio of their numbers.

    Returns:
        [3, H, W] of the style's size, not clamped.
    """
    (z, _, _), (other, mean, std) = (_normalized(each) for each in (style, content))
    theirs, ours = (_covariance(each, 1 if published else each.shape[1]) for each in (other, z))
    turned = _root(theirs) @ _root(ours, -0.5) @ z
    return (turned * std + mean).reshape(style.shape)


def _normalized(picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    flat = picture.flatten(1)
    mean, std = flat.mean(1, keepdim=True), flat.std(1, keepdim=True).clamp(min=EPSILON)
    return (flat - mean) / std, mean, std


def _covariance(z: Tensor, count: int) -> Tensor:
    return (z @ z.T + torch.eye(len(z), dtype=z.dtype, device=z.device)) / count


def _root(matrix: Tensor, power: float = 0.5) -> Tensor:
    """A power of a symmetric positive matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.pow(power) @ vectors.T
