"""Pictures looked at in order, the work dealt to all processes, what was seen gathered again."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from metrics.detectors import Eye
from metrics.sources import Source
from torch_utils import distributed
from torch_utils.cli import progress


def look(source: Source, eyes: Sequence[Eye], indices: Sequence[int], batch: int, label: str) -> Iterator[list[Tensor]]:
    """What each eye sees of the pictures with these numbers, some at a time and in their order: [n, ...] on the CPU.

    Every process must go through to the end. Each looks at some of a round's pictures, and all get what all have seen.

    Args:
        source: of the pictures.
        eyes: which look at each.
        indices: numbers of the pictures.
        batch: pictures that a process looks at at once.
        label: of the progress bar.
    """
    each = distributed.world() * batch
    starts = range(0, len(indices), each)
    firsts = [start + distributed.rank() * batch for start in starts]
    shares = [indices[first : first + batch] for first in firsts]
    looked_at = [mine or indices[:1] for mine in shares]  # one without a share looks too, for the shape that it gathers
    shown = progress(starts, len(starts), label) if distributed.is_first() else starts
    for start, mine, looked, pixels in zip(shown, shares, looked_at, source.batches(looked_at), strict=True):
        with torch.no_grad():
            seen = [eye(pixels, looked)[: len(mine)] for eye in eyes]
        yield [_gathered(features, batch, min(each, len(indices) - start)) for features in seen]


def _gathered(features: Tensor, batch: int, count: int) -> Tensor:
    """The features of all processes in order, [count, ...]; only the last ones may have fewer than `batch`."""
    if distributed.world() == 1:
        return features.cpu()
    all_ = features.new_zeros(distributed.world(), batch, *features.shape[1:])
    all_[distributed.rank(), : len(features)] = features
    return distributed.sum_(all_).flatten(0, 1)[:count].cpu()
