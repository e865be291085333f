"""Directions from labeled samples: how w differs with an attribute (Shen et al. 2020, "InterFaceGAN").

An attribute with two values is fitted by logistic regression, one of real numbers by ridge regression, in float64 on
the CPU. Both fit a plane, whose normal is the direction in which the attribute grows fastest. Each class of a network
(a group) gets its own intercept, so that the normal does not lead from class to class.
Letters: N samples, K attributes, D width of w.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from models.stylegan2.factorization import center

PENALTY = 0.1  # of the squared normal, with w scaled to a mean square of 1 within groups; chosen by measurement
ROUNDS = 100  # of Newton's method, at most
DECREMENT = 1e-13  # of the loss; smaller ones end the search
SMALLEST_STEP = 1e-6  # share of a Newton step that is tried
HELD_OUT = 5  # one sample in five is held out
ROUNDING = 1e-9  # of the largest value
REMAINDER = 1e-6  # of a normal's length; a shorter remainder is rounding


def ridge(w: Tensor, values: Tensor, groups: Tensor, penalty: float = PENALTY) -> Tensor:
    """The normal n [D], of length 1, of real values: minimizes mean (y - n x - b_g)^2 + penalty |n|^2.

    x is w scaled to a mean square of 1 within groups, and b_g the intercept of group g, which centering removes.

    Args:
        w: [N, D].
        values: y, [N].
        groups: the class of each sample, [N]; all 0 without classes.
        penalty: weight of the squared normal.

    Raises:
        ValueError: if the values do not vary within any group.
    """
    if not varies(values, groups):
        raise ValueError("the values do not vary within any group")
    x, y = _scaled(center(w, groups)), center(values, groups)
    gram = x.T @ x / len(x) + penalty * torch.eye(x.shape[1], dtype=x.dtype)
    return _unit(torch.linalg.solve(gram, x.T @ y / len(x)))


def logistic(w: Tensor, labels: Tensor, groups: Tensor, penalty: float = PENALTY) -> Tensor:
    """The normal n [D], of length 1, of labels that are 0 or 1: P(label = 1) = 1 / (1 + exp(-n x - b_g)).

    Newton's method minimizes the mean negative log likelihood plus penalty / 2 |n|^2, which is convex. x and b_g are
    those of `ridge`. Groups with only one label are left out.

    Raises:
        ValueError: if no group has samples of both labels.
    """
    mixed = center(labels, groups) != 0
    if not bool(mixed.any()):
        raise ValueError("no group has samples of both labels")
    w, labels, groups = w[mixed], labels[mixed].double(), groups[mixed]
    x = _scaled(center(w, groups))
    intercepts = F.one_hot(groups.unique(return_inverse=True)[1]).to(x)
    return _unit(_newton(torch.cat([x, intercepts], dim=1), labels, _penalties(x, intercepts, penalty))[: x.shape[1]])


def apart(normals: Tensor) -> Tensor:
    """Normals [K, D] of length 1, each orthogonal to the others (InterFaceGAN).

    n_k' = n_k - P n_k, with P the projection onto the span of the others: a step along n_k' does not change the other
    attributes.

    Raises:
        ValueError: if nothing of a normal is left; the error names its place.
    """
    normals = normals.double()
    result = []
    for k, n in enumerate(normals):
        others = torch.cat([normals[:k], normals[k + 1 :]])
        rest = n - torch.linalg.pinv(others) @ (others @ n) if len(others) else n
        if rest.norm() < REMAINDER:
            raise ValueError(f"direction {k} is a mixture of the others: leave one of them out")
        result.append(_unit(rest))
    return torch.stack(result)


def held_out_skill(
    fit: Callable[[Tensor, Tensor, Tensor], Tensor], w: Tensor, values: Tensor, groups: Tensor
) -> float | None:
    """The correlation, -1 .. 1, of n w with the values of held-out samples within groups; None if too few vary.

    A fifth of the samples is held out, always the same ones. `fit` is `ridge` or `logistic`; other arguments as there.
    """
    held = torch.randperm(len(w), generator=torch.Generator().manual_seed(0)) % HELD_OUT == 0
    try:
        n = fit(w[~held], values[~held], groups[~held])
        along, true = center(w[held] @ n, groups[held]), center(values[held], groups[held])
    except ValueError:
        return None
    if not varies(values[held], groups[held]):
        return None
    return float(along @ true / (along.norm() * true.norm()))


def varies(values: Tensor, groups: Tensor) -> bool:
    """True if values [N] vary within any group by more than rounding."""
    return bool((center(values, groups).abs() > ROUNDING * values.abs().max()).any())


def _newton(X: Tensor, y: Tensor, penalties: Tensor) -> Tensor:
    """The minimum over b of mean log(1 + exp(X b)) - y X b, plus half the penalized squares, [D + groups]."""
    b = X.new_zeros(X.shape[1])
    loss = _loss(X, y, penalties, b)
    for _ in range(ROUNDS):
        p = (X @ b).sigmoid()
        gradient = X.T @ (p - y) / len(X) + penalties * b
        hessian = (X * (p * (1 - p))[:, None]).T @ X / len(X) + penalties.diag()
        step = torch.linalg.solve(hessian, gradient)
        if float(gradient @ step) < DECREMENT:
            break
        size = 1.0
        while (lower := _loss(X, y, penalties, b - size * step)) > loss and size > SMALLEST_STEP:
            size /= 2
        b, loss = b - size * step, lower
    return b


def _loss(X: Tensor, y: Tensor, penalties: Tensor, b: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(X @ b, y) + (penalties * b.square()).sum() / 2


def _penalties(x: Tensor, intercepts: Tensor, penalty: float) -> Tensor:
    """That of the normal, and 0 for the intercepts."""
    return torch.cat([x.new_full([x.shape[1]], penalty), x.new_zeros(intercepts.shape[1])])


def _scaled(x: Tensor) -> Tensor:
    """Samples [N, D] scaled to a mean square of 1, so that a penalty means the same in any network."""
    return x / x.square().mean().sqrt()


def _unit(n: Tensor) -> Tensor:
    return n / n.norm()
