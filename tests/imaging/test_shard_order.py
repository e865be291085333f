import tracemalloc
from collections import Counter

import numpy as np
import pytest

from imaging.imageset import WINDOW, ShardOrder, _permutation

UNEVEN = [3, 1, 50, 7, 20, 1, 33, 8, 12, 5, 9, 2, 40, 6, 11, 4, 30, 19, 1, 25, 3, 14]  # 22 shards, more than a window
RECORDED = [(0, 0), (1, 1), (1, 0), (1, 4), (2, 1), (1, 2), (0, 1), (3, 0), (3, 2), (2, 1)]


def shown(order, positions):
    return [(place.shard, place.sample) for place in map(order.at, positions)]


@pytest.mark.parametrize("counts", [[1], [5], [1, 1, 1], [4, 6], [1] * 40, UNEVEN])
def test_every_epoch_is_a_new_permutation(counts):
    order = ShardOrder(counts, seed=7)
    everything = sorted((shard, sample) for shard, count in enumerate(counts) for sample in range(count))
    epochs = [shown(order, range(e * order.total, (e + 1) * order.total)) for e in range(3)]
    assert all(sorted(epoch) == everything for epoch in epochs)
    assert len(everything) < 4 or len({tuple(epoch) for epoch in epochs}) == 3


def test_the_order_is_frozen():
    order = ShardOrder([2, 5, 2, 3], seed=2**40 + 3)
    assert shown(order, range(10**12, 10**12 + 10)) == RECORDED


def test_a_position_can_be_asked_without_a_history():
    positions = np.random.RandomState(0).randint(0, 10**7, 200).tolist()
    expected = shown(ShardOrder(UNEVEN, seed=3), sorted(positions))
    _permutation.cache_clear()
    assert sorted(positions) != positions
    found = dict(zip(positions, shown(ShardOrder(UNEVEN, seed=3), positions), strict=True))
    assert [found[p] for p in sorted(positions)] == expected


def test_a_window_is_about_one_shard_large_and_drawn_from_many():
    counts = [100] * 60
    order = ShardOrder(counts, seed=0)
    places = [order.at(p) for p in range(order.total)]
    windows = [[place for place in places if place.window == w] for w in range(60)]
    assert all(95 <= len(window) <= 105 for window in windows)
    for w, window in enumerate(windows):
        assert {place.shard for place in window} == set(order.shards_of(0, w)), "each of them has its share"
        assert len(set(order.shards_of(0, w))) == WINDOW
        assert len(set(order.shards_of(0, w)) - set(order.shards_of(0, w - 1 if w else 59))) == 1, "one enters"
    assert order.shards_of(0, 60) == order.shards_of(1, 0), "what comes after the last window"
    share = Counter(place.shard for place in windows[30])
    assert max(share.values()) <= 7, "a part of a shard, not the whole of it"


def test_memory_does_not_grow_with_the_samples():
    """2,000 shards: a thousand times as many samples, and not a byte more for each of them."""

    def held(count):
        _permutation.cache_clear()
        tracemalloc.start()
        order = ShardOrder([count] * 2000, seed=0)
        before = tracemalloc.get_traced_memory()[0]
        for position in range(0, order.total, order.total // 50):
            order.at(position)
        _permutation.cache_clear()  # what they take is bounded by the samples of a window
        now = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return before, now

    held(1)
    small, large = held(3), held(3000)
    samples = 2000 * (3000 - 3)
    assert max(large) < 500_000
    assert (large[1] - small[1]) / samples < 1e-3
    assert _permutation.cache_info().maxsize == 2 * WINDOW + 2
