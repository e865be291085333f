"""The endless shuffle: every epoch is a new permutation, and any place in it is found from one number.

The image at position p is a pure function of (seed, p, count), so a position is enough to resume a run. The
permutations come from numpy's RandomState, whose stream is frozen: the order is the same on every machine and version.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from torch.utils.data import Sampler

Order = Callable[[int, int], int]  # (seed, position) -> index


def index_at(seed: int, position: int, count: int) -> int:
    """Index (0..count-1) of the image shown at `position` (0, 1, 2, ...) of the endless shuffle."""
    epoch, place = divmod(position, count)
    return int(_permutation(seed, epoch, count)[place])


@lru_cache(maxsize=2)  # a batch may reach into the next epoch
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    words = [seed & 0xFFFFFFFF, seed >> 32, epoch & 0xFFFFFFFF, epoch >> 32]
    return np.random.RandomState(words).permutation(count)


class EndlessBatches(Sampler[list[int]]):
    """Endless lists of data set indices, one list per step.

    The batch of step k has the positions `position + k * batch ...`; rank r of `world` takes the r-th of equal slices.
    So the union over ranks does not depend on the number of ranks.
    """

    def __init__(
        self,
        count: int,
        batch: int,
        seed: int,
        position: int = 0,
        rank: int = 0,
        world: int = 1,
        order: Order | None = None,
    ) -> None:
        """Begin at a position of the shuffle.

        Args:
            count: images in the set.
            batch: images per step over all ranks. ValueError if it cannot be divided evenly.
            seed: of the shuffle.
            position: where the shuffle starts.
            rank, world: of this process, and the number of processes.
            order: of a set that has its own: index = order(seed, position).
        """
        if count < 1:
            raise ValueError("the data set holds no images")
        if batch < 1 or batch % world:
            raise ValueError(f"a batch of {batch} cannot be divided evenly among {world} processes")
        self.count, self.batch, self.seed, self.position = count, batch, seed, position
        self.order = order or (lambda seed, position: index_at(seed, position, count))
        self.share = batch // world
        self.offset = rank * self.share

    def __iter__(self) -> Iterator[list[int]]:
        start = self.position + self.offset
        while True:
            yield [self.order(self.seed, start + i) for i in range(self.share)]
            start += self.batch
