"""Directions without labels: factorization of the style affines (SeFa), and principal components of w (GANSpace).

All is computed in float64 on the CPU. Spreads are taken around the mean of each class (a group), because the first
principal components would otherwise lead from class to class.
Letters: N samples, K directions, D width of w, S styles.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from models.stylegan2.generator import Generator, GeneratorBlock
from models.stylegan2.layers import FullyConnected


def style_matrix(G: Generator, layers: Sequence[int]) -> Tensor:
    """A [S, D]: the effective weights of the affines that read w of these layers; a step n changes styles by A n."""
    affines = [affine for layer, affine in _affines(G) if layer in set(layers)]
    return torch.cat([affine.weight.detach().cpu().double() * affine.weight_gain for affine in affines])


def _affines(G: Generator) -> Iterator[tuple[int, FullyConnected]]:
    """Each affine of the synthesis with the layer of w that it reads; an RGB layer reads a block's last."""
    layer = 0
    for block in G.synthesis.blocks:
        assert isinstance(block, GeneratorBlock)
        for convolution in block.layers:
            yield layer, convolution.affine
            layer += 1
        if block.rgb is not None:
            yield layer, block.rgb.affine


def sefa(A: Tensor, count: int) -> Tensor:
    """The `count` directions [K, D] that change the styles most, the strongest first (Shen and Zhou 2021, closed form).

    n_1 maximizes |A n|^2 among n of length 1, n_2 among those orthogonal to n_1, and so on: the eigenvectors of A^T A
    with the largest eigenvalues, in float64. The largest number of each is positive.

    Raises:
        ValueError: for more directions than w has numbers.
    """
    return _leading_eigenvectors(A.double().T @ A.double(), count)


def principal_components(w: Tensor, groups: Tensor, count: int) -> Tensor:
    """The first `count` principal components [K, D] of w (Härkönen et al. 2020, section 2).

    They are eigenvectors of the covariance of w within the groups, in float64, the largest eigenvalue first. The
    largest number of each is positive.

    Args:
        w: [N, D].
        groups: the class of each sample, [N]; all 0 without classes.
        count: K, at most D.

    Raises:
        ValueError: for more directions than w has numbers, or too few samples for any spread.
    """
    centered = center(w, groups)
    return _leading_eigenvectors(centered.T @ centered, count)


def spread(w: Tensor, groups: Tensor, directions: Tensor) -> Tensor:
    """Standard deviation of w along each direction [K, D], around the means of the groups: [K] in float64."""
    along = center(w, groups) @ directions.double().T  # [N, K]
    freedom = len(w) - len(groups.unique())
    return (along.square().sum(dim=0) / freedom).sqrt()


def center(values: Tensor, groups: Tensor) -> Tensor:
    """Values [N, ...] less the mean of their group [N], in float64. Raise ValueError if each group has one sample."""
    _, place, sizes = groups.unique(return_inverse=True, return_counts=True)
    if len(sizes) == len(values):
        raise ValueError(
            f"{len(values)} samples of {len(sizes)} classes do not show how w varies within a class: take more samples"
        )
    values = values.double()
    sums = values.new_zeros(len(sizes), *values.shape[1:]).index_add_(0, place, values)
    means = sums / sizes.reshape(-1, *[1] * (values.ndim - 1))
    return values - means[place]


def _leading_eigenvectors(M: Tensor, count: int) -> Tensor:
    """The eigenvectors [count, D] of a symmetric [D, D] with the largest eigenvalues."""
    if not 1 <= count <= len(M):
        raise ValueError(f"{count} directions: w has {len(M)} numbers, so there can be 1 to {len(M)}")
    _, vectors = torch.linalg.eigh(M)  # columns, the smallest eigenvalue first
    return _with_sign(vectors.T.flip(0)[:count])


def _with_sign(vectors: Tensor) -> Tensor:
    """Eigenvectors [K, D] with the sign that makes the largest number of each positive."""
    largest = vectors.abs().argmax(dim=1, keepdim=True)
    return vectors * vectors.gather(1, largest).sign()
