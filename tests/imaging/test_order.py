import numpy as np

from imaging.imageset import index_at

RECORDED_0 = [0, 8, 9, 5, 6, 2, 7, 4, 3, 1, 1, 7]
RECORDED_BIG = [7, 4, 3, 8, 6, 0, 2, 5, 1, 9, 8, 1]


def test_every_epoch_is_a_new_permutation():
    epochs = [[index_at(7, epoch * 50 + i, 50) for i in range(50)] for epoch in range(4)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_order_is_frozen():
    assert [index_at(0, p, 10) for p in range(12)] == RECORDED_0
    assert [index_at(2**40 + 3, p, 10) for p in range(12)] == RECORDED_BIG


def test_seeds_differ_also_in_their_high_bits():
    def first(seed):
        return [index_at(seed, p, 100) for p in range(100)]

    assert first(1) != first(2) and first(1) != first(1 + 2**32)


def test_a_position_can_be_asked_without_a_history():
    count = 1000
    far = 10**12 + 123
    epoch, place = divmod(far, count)
    words = [5, 0, epoch & 0xFFFFFFFF, epoch >> 32]
    assert index_at(5, far, count) == np.random.RandomState(words).permutation(count)[place]
