"""The endless shuffles of images and of sharded images, in which any place is found from one number.

Every epoch is a new permutation. The item at position p is a pure function of the seed, p and the number of items (in
each shard), so a position is enough to resume a run. The permutations come from numpy's RandomState, whose stream is
frozen: the order is the same on every machine and version.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

WINDOW = 16  # shards; another number would change the order of samples of every run
OF_SHARDS, OF_SAMPLES, OF_WINDOWS = 1, 2, 3  # purposes of the random orders of shards


def _permuted(key: tuple[int, ...], count: int) -> np.ndarray:
    words = [half for number in key for half in (number & 0xFFFFFFFF, number >> 32)]
    return np.random.RandomState(words).permutation(count)


_of_images = lru_cache(maxsize=2)(_permuted)  # a batch may reach into the next epoch
_permutation = lru_cache(maxsize=2 * WINDOW + 2)(_permuted)


def index_at(seed: int, position: int, count: int) -> int:
    """Index (0..count-1) of the image shown at `position` (0, 1, 2, ...) of the endless shuffle."""
    epoch, place = divmod(position, count)
    return int(_of_images((seed, epoch), count)[place])


class Place(NamedTuple):
    """The sample at a position of the shuffle."""

    epoch: int
    window: int
    shard: int
    sample: int  # in the shard


class ShardOrder:
    """The order of all samples of some shards.

    Every epoch puts the shards in a random order, and the samples of each shard in another, cut into W = 16 parts (or
    as many as there are shards). An epoch is a row of windows, as many as there are shards: window t holds part k of
    shard t - k, for k = 0 .. W - 1, wrapping around at the ends, in one more random order.

        window   0     1     2     3    ...       (W = 3, S shards)
                 0.0   1.0   2.0   3.0            shard.part
                 S-1.1 0.1   1.1   2.1
                 S-2.2 S-1.2 0.2   1.2

    So an epoch shows every sample once, and a batch is drawn from W random shards. From window to window one shard
    enters and one leaves. Memory holds the orders of W shards and of a window, and three numbers for every shard.
    """

    def __init__(self, counts: Sequence[int] | np.ndarray, seed: int) -> None:
        """`counts`: samples in each shard, all at least 1; `seed`: of the orders."""
        self.counts = np.asarray(counts, dtype=np.int64)
        self.seed = seed
        self.total = int(self.counts.sum())
        self.width = min(WINDOW, len(self.counts))
        self._epoch, self._ends, self._row = -1, self.counts, self.counts  # of the last epoch asked for

    def at(self, position: int) -> Place:
        """The sample shown at `position` (0, 1, 2, ...)."""
        epoch, place = divmod(position, self.total)
        self._enter(epoch)
        window = int(np.searchsorted(self._ends, place, side="right"))
        begin = int(self._ends[window - 1]) if window else 0
        size = int(self._ends[window]) - begin
        rest = int(_permutation((self.seed, epoch, OF_WINDOWS, window), size)[place - begin])
        for part, shard in enumerate(self.shards_of(epoch, window)):
            count = int(self.counts[shard])
            first, last = count * part // self.width, count * (part + 1) // self.width
            if rest < last - first:
                order = _permutation((self.seed, epoch, OF_SAMPLES, shard), count)
                return Place(epoch, window, shard, int(order[first + rest]))
            rest -= last - first
        raise AssertionError("a window is the sum of its parts")

    def shards_of(self, epoch: int, window: int) -> list[int]:
        """The shards of a window, the one that enters with it first. Windows continue in the next epoch."""
        epoch, window = epoch + window // len(self.counts), window % len(self.counts)
        self._enter(epoch)
        return [int(self._row[(window - part) % len(self._row)]) for part in range(self.width)]

    def _enter(self, epoch: int) -> None:
        """Compute the order of an epoch's shards, and where its windows end."""
        if epoch == self._epoch:
            return
        self._epoch, self._row = epoch, _permuted((self.seed, epoch, OF_SHARDS), len(self.counts))
        counts = self.counts[self._row]
        sizes = np.zeros_like(counts)
        for part in range(self.width):
            sizes += np.roll(counts * (part + 1) // self.width - counts * part // self.width, part)
        self._ends = np.cumsum(sizes)
