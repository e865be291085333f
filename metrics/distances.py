"""Numbers that follow from features: Fréchet and kernel distance, precision and recall, inception score.

Letters: M points of real images, N points of samples, D dimensions, m points of a subset, C covariance.

Kernel distance, precision and recall are computed where the features are, dealt to all processes, each of which must
have the same features. On CPUs their numbers are those of one process, bit for bit.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from torch_utils import distributed

CPU = torch.device("cpu")
AT_ONCE = 2**14  # features in a sum
SUBSETS, LARGEST = 100, 1000  # of the kernel distance: subsets, and points in each
NEIGHBORS = 3  # k, as in the paper
BLOCK = 2**24  # numbers of a distance matrix at once
EXACT = 512  # dimensions up to which distances are taken without products


def shared(tensor: Tensor | None, device: torch.device) -> Tensor:
    """The tensor of rank 0, on `device` of every process. All processes must call it."""
    facts = "" if tensor is None else json.dumps([str(tensor.dtype).removeprefix("torch."), *tensor.shape])
    dtype, *shape = json.loads(distributed.texts(facts)[0])
    if tensor is not None and distributed.is_first():
        whole = tensor.to(device).contiguous()
    else:
        whole = torch.empty(shape, dtype=getattr(torch, dtype), device=device)
    distributed.broadcast_([whole])
    return whole


def dealt(count: int, part: int, compute: Callable[[slice], Tensor], like: Tensor) -> Tensor:
    """`count` numbers, computed by all processes, `part` at a time, and returned to each.

    `compute` returns the numbers of a slice, in the dtype and on the device of `like`.
    """
    found = like.new_zeros(count)
    for place, start in enumerate(range(0, count, part)):
        if place % distributed.world() == distributed.rank():
            rows = slice(start, min(start + part, count))
            found[rows] = compute(rows)
    return distributed.sum_(found)


def _check_dimensions(a: Tensor, b: Tensor) -> None:
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"features have {a.shape[-1]} and {b.shape[-1]} dimensions: they come from two detectors")


@dataclass(frozen=True)
class Gaussian:
    """Mean [D] and covariance [D, D] of features, float64, on the CPU."""

    mean: Tensor
    covariance: Tensor


class Sums:
    """Sums of features, from which their mean and covariance follow."""

    def __init__(self) -> None:
        self.count = 0
        self.first = self.second = torch.zeros([])  # sums of x [D] and of x x' [D, D]

    def add(self, features: Tensor) -> None:
        """Add features [n, D], in float64, so that the order hardly matters."""
        x = features.double()
        self.count += len(x)
        self.first, self.second = self.first + x.sum(dim=0), self.second + x.T @ x

    def gaussian(self) -> Gaussian:
        """m = sum x / N and C = sum x x' / N - m m', as in the official code (N, not N - 1)."""
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 points, got {self.count}")
        mean = self.first / self.count
        return Gaussian(mean.cpu(), (self.second / self.count - mean.outer(mean)).cpu())


def gaussian(features: Tensor, device: torch.device = CPU) -> Gaussian:
    """Mean and covariance of features [N, D]; summed up on `device`, which must support float64."""
    sums = Sums()
    for part in features.split(AT_ONCE):
        sums.add(part.to(device))
    return sums.gaussian()


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) (Heusel et al. 2017, equation 6), at least 0 up to rounding.

    Raises ValueError if the features have different dimensions, or are not finite.
    """
    _check_dimensions(a.mean, b.mean)
    if not all(tensor.isfinite().all() for tensor in (a.mean, a.covariance, b.mean, b.covariance)):
        raise ValueError("some features are not finite numbers: there is no Fréchet distance of them")
    means = (a.mean - b.mean).square().sum()
    traces = a.covariance.trace() + b.covariance.trace()
    # The trace of (A B)^(1/2) is the sum of the singular values of A^(1/2) B^(1/2). The square root of A B itself,
    # which is not symmetric, is inaccurate if A or B is singular.
    common = torch.linalg.svdvals(_root(a.covariance) @ _root(b.covariance)).sum()
    return (means + traces - 2 * common).item()


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def kernel_distance(real: Tensor, fake: Tensor, seed: int = 0) -> float:
    """Kernel inception distance (Bińkowski et al. 2018): about 0 for equal distributions, perhaps a little below.

    The mean over 100 pairs of random subsets, drawn with the seed, of up to 1000 of the points [M, D] and [N, D].
    Raises ValueError if a set has fewer than two points.
    """
    _check_dimensions(real, fake)
    size = min(len(real), len(fake), LARGEST)
    if size < 2:
        raise ValueError(f"a kernel distance needs at least 2 points of each set, got {size}")
    draw = np.random.RandomState(seed)
    drawn = [[draw.choice(len(part), size, replace=False) for part in (fake, real)] for _ in range(SUBSETS)]

    def compute(subset: slice) -> Tensor:
        of_fake, of_real = map(torch.from_numpy, drawn[subset.start])
        return discrepancy(real[of_real].double(), fake[of_fake].double())

    return dealt(SUBSETS, 1, compute, real.new_zeros([], dtype=torch.float64)).mean().item()


def discrepancy(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased estimate of the squared maximum mean discrepancy of points [m, D] and [m, D] (equation 4)."""
    m = len(x)
    within = sum((k.sum() - k.diagonal().sum()) / (m * (m - 1)) for k in (_kernel(x, x), _kernel(y, y)))
    return within - 2 * _kernel(x, y).mean()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    """The cubic kernel (x' y / D + 1)^3 of points [m, D] and [n, D], [m, n]."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def precision_recall(real: Tensor, fake: Tensor, k: int = NEIGHBORS) -> tuple[float, float]:
    """(precision, recall), each in 0..1 (Kynkäänniemi et al. 2019).

    A set of features spans a manifold: the union of balls about its points, each as large as the distance to the k-th
    nearest other point. Precision is the share of the samples [N, D] that lie on the manifold of the real images
    [M, D], recall the share of the real images that lie on the manifold of the samples.
    """
    return coverage(real, fake, k), coverage(fake, real, k)


def coverage(reference: Tensor, points: Tensor, k: int = NEIGHBORS) -> float:
    """Share of the points [N, D] that lie on the manifold of the reference [M, D] (equation 2, averaged)."""
    _check_dimensions(reference, points)
    radii = neighbor_distances(reference, k)  # [M]
    inside = _of_rows(points, reference, lambda distances: (distances <= radii).any(dim=1).to(radii.dtype))
    return inside.cpu().double().mean().item()


def neighbor_distances(points: Tensor, k: int = NEIGHBORS) -> Tensor:
    """Distance of each of the points [N, D] to its k-th nearest other point, [N]."""
    if len(points) <= k:
        raise ValueError(f"neighbor number {k} needs more than {k} points, got {len(points)}")
    # Each point is its own nearest neighbor, which is not counted.
    return _of_rows(points, points, lambda distances: distances.kthvalue(k + 1, dim=1).values)


def _of_rows(rows: Tensor, columns: Tensor, measure: Callable[[Tensor], Tensor]) -> Tensor:
    """A number for each row of the distance matrix, [len(rows)]. `measure` gives them for some of its rows at a time.

    In few dimensions without products, so that equal points are 0 apart. In many dimensions that would take hours;
    there the mean is subtracted first, which keeps the rounding of products small.
    """
    few = rows.shape[1] <= EXACT
    if not few:
        middle = columns.mean(dim=0)
        rows, columns = rows - middle, columns - middle
    mode = "donot_use_mm_for_euclid_dist" if few else "use_mm_for_euclid_dist"
    at_once = max(BLOCK // len(columns), 1)
    return dealt(len(rows), at_once, lambda part: measure(torch.cdist(rows[part], columns, compute_mode=mode)), rows)


def inception_score(probabilities: Tensor, splits: int = 10) -> tuple[float, float]:
    """Mean and standard deviation of exp(E KL(p(y|x) || p(y))) (Salimans et al. 2016), at least 1.

    They are taken over splits, parts of the samples in order, of the probabilities p(y|x) [N, classes].
    """
    if len(probabilities) < splits:
        raise ValueError(f"an inception score in {splits} parts needs as many samples, got {len(probabilities)}")
    scores = []
    for start, stop in pairwise(k * len(probabilities) // splits for k in range(splits + 1)):
        p = probabilities[start:stop].double()
        marginal = p.mean(dim=0, keepdim=True)
        scores.append((torch.xlogy(p, p) - torch.xlogy(p, marginal)).sum(dim=1).mean().exp())
    found = torch.stack(scores)
    return found.mean().item(), found.std(correction=0).item()
