"""Pictures that eyes look at, the work dealt to all processes and the features gathered again."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from metrics.detectors import Eye
from metrics.sources import JudgedSource
from torch_utils import distributed
from torch_utils.cli import progress


def look(
    source: JudgedSource, eyes: Sequence[Eye], indices: Sequence[int], batch: int, label: str
) -> Iterator[list[Tensor]]:
    """The features that each eye sees in the pictures with these numbers, in order: [n, ...] on the CPU.

    Every process must iterate to the end. Each looks at its share of a round's pictures; all get the features of all.

    Args:
        source: of the pictures.
        eyes: what looks at them.
        indices: numbers of the pictures.
        batch: pictures that a process looks at together.
        label: of the progress bar.
    """
    each = distributed.world() * batch
    starts = range(0, len(indices), each)
    firsts = [start + distributed.rank() * batch for start in starts]
    shares = [indices[first : first + batch] for first in firsts]
    looked_at = [mine or indices[:1] for mine in shares]  # a process without a share needs the shape of the features
    shown = progress(starts, len(starts), label) if distributed.is_first() else starts
    for start, mine, looked, pixels in zip(shown, shares, looked_at, source.batches(looked_at), strict=True):
        with torch.no_grad():
            seen = [eye(pixels, looked)[: len(mine)] for eye in eyes]
        yield [_gathered(features, batch, min(each, len(indices) - start)) for features in seen]


def _gathered(features: Tensor, batch: int, count: int) -> Tensor:
    """The features of all processes in order, [count, ...]; only the last processes may have fewer than `batch`."""
    if distributed.world() == 1:
        return features.cpu()
    all_ = features.new_zeros(distributed.world(), batch, *features.shape[1:])
    all_[distributed.rank(), : len(features)] = features
    return distributed.sum_(all_).flatten(0, 1)[:count].cpu()
