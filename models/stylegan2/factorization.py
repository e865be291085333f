"""Directions without labels: factorization of the style affines (SeFa), and principal components of w (GANSpace).

Letters: N samples, K directions, D width of w, S styles. All is computed in float64 on the CPU.

A network with classes has a mean of w for each. Over all samples, the largest spread would be that between these means,
and its first principal components would lead from class to class. So samples come in groups, the classes, and spreads
are taken around the mean of each: what is found varies within every class.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from models.stylegan2.generator import Generator, GeneratorBlock
from models.stylegan2.layers import FullyConnected


def style_matrix(G: Generator, layers: Sequence[int]) -> Tensor:
    """A [S, D]: the weights in use of every affine that reads the w of these layers, one below the other.

    A step n of w changes the styles, all of them together, by A n.
    """
    affines = [affine for layer, affine in _affines(G) if layer in set(layers)]
    return torch.cat([affine.weight.detach().cpu().double() * affine.weight_gain for affine in affines])


def _affines(G: Generator) -> Iterator[tuple[int, FullyConnected]]:
    """The layer of w that each affine of the synthesis reads, and the affine; an RGB layer reads a block's last."""
    layer = 0
    for block in G.synthesis.blocks:
        assert isinstance(block, GeneratorBlock)
        for convolution in block.layers:
            yield layer, convolution.affine
            layer += 1
        if block.rgb is not None:
            yield layer, block.rgb.affine


def sefa(A: Tensor, count: int) -> Tensor:
    """Closed-form factorization (Shen and Zhou 2021): the directions that change the styles most.

    n_1 maximises |A n|^2 among n of length 1, n_2 among those orthogonal to n_1, and so on. These are the eigenvectors
    of A^T A with the largest eigenvalues: A^T A n = lambda n, and |A n|^2 = lambda.

    Args:
        A: weights of style affines, [S, D].
        count: how many directions, K, at most D.

    Returns:
        [K, D] in float64, the strongest first; the largest number of each is positive.

    Raises:
        ValueError: for more directions than w has numbers.
    """
    return _leading_eigenvectors(A.double().T @ A.double(), count)


def principal_components(w: Tensor, groups: Tensor, count: int) -> Tensor:
    """Principal components of w (Härkönen et al. 2020, section 2): orthogonal directions along which it varies most.

    They are the eigenvectors of the covariance of w within the groups, the largest eigenvalue first.

    Args:
        w: [N, D].
        groups: the class of each sample, [N]; all 0 where there are none.
        count: how many directions, K, at most D.

    Returns:
        [K, D] in float64, the strongest first; the largest number of each is positive.

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
    """Values [N, ...] less the mean of their group [N], in float64.

    Raises:
        ValueError: when every group has one sample only, so that nothing is left.
    """
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
    """Of a symmetric [D, D] those with the largest eigenvalues: [count, D]."""
    if not 1 <= count <= len(M):
        raise ValueError(f"{count} directions: w has {len(M)} numbers, so there can be 1 to {len(M)}")
    _, vectors = torch.linalg.eigh(M)  # columns, the smallest eigenvalue first
    return _with_sign(vectors.T.flip(0)[:count])


def _with_sign(vectors: Tensor) -> Tensor:
    """An eigenvector is one with its opposite: of both that whose largest number is positive."""
    largest = vectors.abs().argmax(dim=1, keepdim=True)
    return vectors * vectors.gather(1, largest).sign()
