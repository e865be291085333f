"""Fréchet distance of two sets of features, taken for Gaussians (Heusel et al. 2017, equation 6), as pure functions.

Letters: N points, D dimensions, m mean, C covariance.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

CPU = torch.device("cpu")
AT_ONCE = 2**14  # features on another device


@dataclass(frozen=True)
class Gaussian:
    """Mean [D] and covariance [D, D] of features, float64, on the CPU."""

    mean: Tensor
    covariance: Tensor


class Sums:
    """Sums of features from which their mean and covariance follow, however they come in."""

    def __init__(self) -> None:
        self.count = 0
        self.first: Tensor | None = None  # sum of x, [D]
        self.second: Tensor | None = None  # sum of x x', [D, D]

    def add(self, features: Tensor) -> None:
        """Takes in features [n, D]. Added up in float64, so that the order hardly matters."""
        x = features.double()
        if self.first is None or self.second is None:
            self.first, self.second = x.new_zeros(x.shape[1]), x.new_zeros(x.shape[1], x.shape[1])
        self.count += len(x)
        self.first += x.sum(dim=0)
        self.second += x.T @ x

    def gaussian(self) -> Gaussian:
        """m = sum x / N and C = sum x x' / N - m m', as the official code has them (N, not N - 1).

        Raises:
            ValueError: when there are fewer than two points.
        """
        if self.first is None or self.second is None or self.count < 2:
            raise ValueError(f"a covariance needs at least 2 points, got {self.count}")
        mean = self.first / self.count
        return Gaussian(mean.cpu(), (self.second / self.count - mean.outer(mean)).cpu())


def gaussian(features: Tensor, device: torch.device = CPU) -> Gaussian:
    """Mean and covariance of features [N, D]; summed up on `device`, which must know float64."""
    sums = Sums()
    for part in features.split(len(features) if device.type == "cpu" else AT_ONCE):
        sums.add(part.to(device))
    return sums.gaussian()


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), at least 0 up to rounding.

    Raises:
        ValueError: when the features have different dimensions, or are not finite.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"features have {len(a.mean)} and {len(b.mean)} dimensions: they come from two detectors")
    if not all(tensor.isfinite().all() for tensor in (a.mean, a.covariance, b.mean, b.covariance)):
        raise ValueError("some features are not finite numbers: there is no Fréchet distance of them")
    means = (a.mean - b.mean).square().sum()
    traces = a.covariance.trace() + b.covariance.trace()
    return (means + traces - 2 * _trace_of_root(a.covariance, b.covariance)).item()


def _trace_of_root(a: Tensor, b: Tensor) -> Tensor:
    """tr((A B)^(1/2)) of positive semi-definite matrices: the sum of the singular values of A^(1/2) B^(1/2).

    Without the square root of A B itself, which is not symmetric and loses its way when A or B is singular.
    """
    return torch.linalg.svdvals(_root(a) @ _root(b)).sum()


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
