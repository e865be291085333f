"""Finds directions of w: without labels, from the weights (SeFa) or from w (GANSpace), or from labels (InterFaceGAN).

Everything is computed in float64 on the CPU, around the mean of each class (a group), so that no direction leads from
class to class. Letters: N samples, K directions, D width of w, S styles.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.sampler import Request
from models.stylegan2.directionfile import check_names
from models.stylegan2.generator import Generator
from models.stylegan2.sampler import StyleSampler
from torch_utils.cli import progress

AT_ONCE = 1000  # seeds
PENALTY = 0.1  # of the squared normal, with w scaled to a mean square of 1 within groups; chosen by measurement
ROUNDS = 100  # of the search for logistic regression, at most
HELD_OUT = 5  # one sample in five is held out
ROUNDING = 1e-9  # of the largest value
REMAINDER = 1e-6  # of a normal's length; a shorter remainder is rounding
FEWEST_LABELS = 20  # of one attribute: fewer say nothing about a w of hundreds of numbers

Watch = Callable[[Sequence[Any], int, str], Iterable[Any]]
Found = tuple[Tensor, list[dict[str, Any]]]  # directions [K, D], and facts about each for the record


@torch.no_grad()
def draw(
    sampler: StyleSampler, requests: Sequence[Request], across_classes: bool = False, watch: Watch = progress
) -> tuple[Tensor, Tensor]:
    """The untruncated w [N, D] of requests, and their groups [N]: classes, or all 0 with `across_classes`.

    `watch` gets the chunks, their number and what they are, and yields them as `progress` does.
    """
    chunks = [requests[first : first + AT_ONCE] for first in range(0, len(requests), AT_ONCE)]
    w = []
    for chunk in watch(chunks, len(chunks), "thousand latents"):
        c = sampler.one_hot([request.label for request in chunk])
        w.append(sampler.G.mapping(sampler.latents(chunk), c).cpu().double())
    labels = [0 if across_classes else request.label or 0 for request in requests]
    return torch.cat(w), torch.tensor(labels)


def style_matrix(G: Generator, layers: Sequence[int]) -> Tensor:
    """A [S, D]: the effective weights of the affines that read w of these layers; a step n changes styles by A n."""
    rows, layer = [], 0
    for block in G.synthesis.blocks:
        affines = [convolution.affine for convolution in block.layers]
        affines += [block.rgb.affine] if block.rgb is not None else []  # reads the w of the next block's first layer
        rows += [a.weight.detach().cpu().double() * a.weight_gain for k, a in enumerate(affines, layer) if k in layers]
        layer += len(block.layers)
    return torch.cat(rows)


def sefa(A: Tensor, count: int) -> Tensor:
    """The `count` directions [K, D] that change the styles most, the strongest first (Shen and Zhou 2021, closed form).

    Each n of length 1 maximizes |A n|^2 orthogonally to those before: the leading eigenvectors of A^T A.
    """
    return _leading_eigenvectors(A.double().T @ A.double(), count)


def principal_components(w: Tensor, groups: Tensor, count: int) -> Tensor:
    """The first `count` principal components [K, D] of w [N, D] within groups [N] (Härkönen et al. 2020, section 2)."""
    centered = center(w, groups)
    return _leading_eigenvectors(centered.T @ centered, count)


def _leading_eigenvectors(M: Tensor, count: int) -> Tensor:
    """[count, D] of a symmetric [D, D]: those of the largest eigenvalues, the largest number of each positive."""
    if not 1 <= count <= len(M):
        raise ValueError(f"{count} directions: w has {len(M)} numbers, so there can be 1 to {len(M)}")
    vectors = torch.linalg.eigh(M)[1].T.flip(0)[:count]
    largest = vectors.abs().argmax(dim=1, keepdim=True)
    return vectors * vectors.gather(1, largest).sign()


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


def find_unlabeled(G: Generator, method: str, w: Tensor, groups: Tensor, count: int, layers: Sequence[int]) -> Found:
    """`count` directions by method "sefa", from the styles of these layers, or "pca", from w [N, D] in groups [N]."""
    if method == "sefa":
        A = style_matrix(G, layers)
        vectors = sefa(A, count)
        return vectors, [{"style_change": float(change)} for change in (A @ vectors.T).norm(dim=0)]
    vectors = principal_components(w, groups, count)
    everything = spread(w, groups, torch.eye(w.shape[1])).square().sum()
    shares = spread(w, groups, vectors).square() / everything
    return vectors, [{"variance": float(share)} for share in shares]


def ridge(w: Tensor, values: Tensor, groups: Tensor, penalty: float = PENALTY) -> Tensor:
    """The normal n [D], of length 1, of real values y [N]: minimizes mean (y - n x - b_g)^2 + penalty |n|^2.

    x is w [N, D] scaled to a mean square of 1 within groups [N], some of which must vary; b_g is the intercept of
    group g, which centering removes.
    """
    if not varies(values, groups):
        raise ValueError("the values do not vary within any group")
    x, y = _scaled(center(w, groups)), center(values, groups)
    gram = x.T @ x / len(x) + penalty * torch.eye(x.shape[1], dtype=x.dtype)
    n: Tensor = torch.linalg.solve(gram, x.T @ y / len(x))
    return n / n.norm()


def logistic(w: Tensor, labels: Tensor, groups: Tensor, penalty: float = PENALTY) -> Tensor:
    """The normal n [D], of length 1, of labels [N] that are 0 or 1: P(label = 1) = 1 / (1 + exp(-n x - b_g)).

    It minimizes the mean negative log likelihood plus penalty / 2 |n|^2, which is convex; x and b_g as for `ridge`.
    Groups with only one label are left out.
    """
    mixed = center(labels, groups) != 0
    if not bool(mixed.any()):
        raise ValueError("no group has samples of both labels")
    w, labels, groups = w[mixed], labels[mixed].double(), groups[mixed]
    x = _scaled(center(w, groups))
    intercepts = F.one_hot(groups.unique(return_inverse=True)[1]).to(x)
    penalties = torch.cat([x.new_full([x.shape[1]], penalty), x.new_zeros(intercepts.shape[1])])
    n = _minimum(torch.cat([x, intercepts], dim=1), labels, penalties)[: x.shape[1]]
    return n / n.norm()


def _minimum(X: Tensor, y: Tensor, penalties: Tensor) -> Tensor:
    """The minimum over b of mean log(1 + exp(X b)) - y X b, plus half the penalized squares, [D + groups]."""
    from scipy.optimize import minimize  # takes half a second

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        at, score = torch.from_numpy(b), X @ torch.from_numpy(b)
        value = F.binary_cross_entropy_with_logits(score, y) + (penalties * at.square()).sum() / 2
        return float(value), (X.T @ (score.sigmoid() - y) / len(X) + penalties * at).numpy()

    def curvature(b: np.ndarray) -> np.ndarray:
        p = (X @ torch.from_numpy(b)).sigmoid()
        return ((X * (p * (1 - p))[:, None]).T @ X / len(X) + penalties.diag()).numpy()

    options = {"gtol": 1e-10, "maxiter": ROUNDS}
    found = minimize(loss, np.zeros(X.shape[1]), jac=True, hess=curvature, method="trust-exact", options=options)
    return torch.from_numpy(found.x)


def _scaled(x: Tensor) -> Tensor:
    """Samples [N, D] scaled to a mean square of 1, so that a penalty means the same in any network."""
    return x / x.square().mean().sqrt()


def apart(normals: Tensor) -> Tensor:
    """Normals [K, D] of length 1, each less its projection onto the span of the others (InterFaceGAN).

    A step along one of them does not change the other attributes.
    """
    normals, result = normals.double(), []
    for k, n in enumerate(normals):
        others = torch.cat([normals[:k], normals[k + 1 :]])
        rest = n - torch.linalg.pinv(others) @ (others @ n) if len(others) else n
        if rest.norm() < REMAINDER:
            raise ValueError(f"direction {k} is a mixture of the others: leave one of them out")
        result.append(rest / rest.norm())
    return torch.stack(result)


def held_out_skill(
    fit: Callable[[Tensor, Tensor, Tensor], Tensor], w: Tensor, values: Tensor, groups: Tensor
) -> float | None:
    """The correlation, -1 .. 1, of n w with the values of a fifth of the samples, held out; None if too few vary."""
    held = torch.randperm(len(w), generator=torch.Generator().manual_seed(0)) % HELD_OUT == 0
    try:
        n = fit(w[~held], values[~held], groups[~held])
        along, true = center(w[held] @ n, groups[held]), center(values[held], groups[held])
    except ValueError:
        return None
    return float(along @ true / (along.norm() * true.norm())) if varies(values[held], groups[held]) else None


def varies(values: Tensor, groups: Tensor) -> bool:
    """True if values [N] vary within any group by more than rounding."""
    return bool((center(values, groups).abs() > ROUNDING * values.abs().max()).any())


def find_attributes(w: Tensor, groups: Tensor, names: Sequence[str], values: Tensor, orthogonal: bool) -> Found:
    """A direction for each attribute, by logistic regression if it has two values, else by ridge regression.

    `values` [N, K] of w [N, D] are nan where unknown; at least 20 of an attribute must be known, and vary. `orthogonal`
    makes each direction orthogonal to the others.
    """
    check_names(names)
    found = []
    for name, column in zip(names, values.unbind(dim=1), strict=True):
        try:
            found.append(_fit(w, column, groups))
        except ValueError as error:
            raise ValueError(f"the attribute {name}: {error}") from error
    normals = torch.stack([normal for normal, _ in found])
    return apart(normals) if orthogonal else normals, [facts for _, facts in found]


def _fit(w: Tensor, values: Tensor, groups: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """The normal of one attribute, and its skill on samples that it was not fitted to."""
    known = ~values.isnan()
    count = int(known.sum())
    if count < FEWEST_LABELS:
        raise ValueError(f"{count} pictures have a value, but at least {FEWEST_LABELS} are needed: label more")
    w, y, groups = w[known], values[known], groups[known]
    levels = y.unique()
    if len(levels) == 1:
        raise ValueError(f"all {count} pictures have the value {float(y[0]):g}: label some that differ")
    if not varies(y, groups):
        raise ValueError("the class of a picture alone decides it: add --across-classes")
    binary = len(levels) == 2
    y, fit = ((y == levels[1]).double(), logistic) if binary else (y, ridge)
    skill = held_out_skill(fit, w, y, groups)
    return fit(w, y, groups), {"fit": fit.__name__, "labels": count, "held_out_correlation": skill}
