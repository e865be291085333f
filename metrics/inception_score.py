"""Inception score (Salimans et al. 2016): how sure a classifier is of each sample, and how unsure of all together."""

from itertools import pairwise

import torch
from torch import Tensor

SPLITS = 10


def inception_score(probabilities: Tensor, splits: int = SPLITS) -> tuple[float, float]:
    """Mean and standard deviation over splits of exp(E KL(p(y|x) || p(y))), from 1 to the number of classes.

    Args:
        probabilities: of the classes for each sample, [N, classes].
        splits: parts of the samples, in order, that are scored by themselves.

    Raises:
        ValueError: when there are fewer samples than splits.
    """
    if len(probabilities) < splits:
        raise ValueError(f"an inception score in {splits} parts needs as many samples, got {len(probabilities)}")
    bounds = [k * len(probabilities) // splits for k in range(splits + 1)]
    p = probabilities.double()
    scores = torch.stack([_score(p[start:stop]) for start, stop in pairwise(bounds)])
    return scores.mean().item(), scores.std(correction=0).item()


def _score(p: Tensor) -> Tensor:
    marginal = p.mean(dim=0, keepdim=True)
    return (torch.xlogy(p, p) - torch.xlogy(p, marginal)).sum(dim=1).mean().exp()
