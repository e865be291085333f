"""Precision and recall of generated samples (Kynkäänniemi et al. 2019), as pure functions of features.

A set of features spans a manifold: the union of balls about its points, each as large as the distance to the k-th
nearest other point. Precision is the share of the samples that lie on the manifold of real images, recall the share of
real images that lie on the manifold of the samples. Letters: M N points, D dimensions.

Features are computed with where they are, and rows of the distance matrices are dealt to all processes, each of which
must have the same features.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from metrics.sharing import dealt

NEIGHBORS = 3  # k, as in the paper
BLOCK = 2**24  # numbers of a distance matrix at once
EXACT = 512  # dimensions up to which distances are taken without products


def precision_recall(real: Tensor, fake: Tensor, k: int = NEIGHBORS) -> tuple[float, float]:
    """(precision, recall), each in 0..1.

    Args:
        real: features of real images, [M, D].
        fake: features of samples, [N, D].
        k: which neighbor decides a ball's size.

    Raises:
        ValueError: when the features do not fit each other or a set has k points or fewer.
    """
    return coverage(real, fake, k), coverage(fake, real, k)


def coverage(reference: Tensor, points: Tensor, k: int = NEIGHBORS) -> float:
    """Share of the points [N, D] that lie on the manifold of the reference [M, D] (equation 2, averaged)."""
    if reference.ndim != 2 or points.ndim != 2 or reference.shape[1] != points.shape[1]:
        raise ValueError(
            f"features are [points, dimensions] with equal dimensions, got {list(reference.shape)} and "
            f"{list(points.shape)}"
        )
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

    Without products, so that equal points are 0 apart; with many dimensions that would take hours, and points are first
    moved to the middle, which leaves products little to lose.
    """
    few = rows.shape[1] <= EXACT
    if not few:
        middle = columns.mean(dim=0)
        rows, columns = rows - middle, columns - middle
    mode = "donot_use_mm_for_euclid_dist" if few else "use_mm_for_euclid_dist"
    at_once = max(BLOCK // len(columns), 1)
    return dealt(len(rows), at_once, lambda part: measure(torch.cdist(rows[part], columns, compute_mode=mode)), rows)
