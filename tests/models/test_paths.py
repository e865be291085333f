import math

import pytest
import torch

from models.paths import ease, slerp, spline, through, times

D = 16


def keys(count=5, *shape):
    return torch.randn(count, *shape, D, generator=torch.Generator().manual_seed(0))


def angle(a, b):
    return torch.acos(torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=-1).clamp(-1, 1))


PATHS = {
    "linear": through,
    "spherical": lambda keys: through(keys, slerp),
    "loop": lambda k: spline(k, loop=True),
    "spline": lambda k: spline(k, loop=False),
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("shape", [(), (6,)])
def test_a_path_is_its_keys_at_whole_times_to_the_last_bit(path, shape):
    k = keys(5, *shape)
    at = path(k)
    for i, key in enumerate(k):
        assert torch.equal(at(float(i)), key)
        assert at(i + 0.3 if i < 4 else i - 0.3).shape == key.shape


@pytest.mark.parametrize("name", ["linear", "spherical", "loop"])
def test_a_loop_ends_where_it_begins(name):
    k = keys()
    at = PATHS[name](k)
    assert torch.equal(at(5.0), k[0])
    torch.testing.assert_close(at(5 - 1e-6), k[0], rtol=0, atol=1e-4)


def test_linear_is_its_closed_form():
    k = keys()
    torch.testing.assert_close(through(k)(2.25), 0.75 * k[2] + 0.25 * k[3])
    torch.testing.assert_close(through(k)(4.5), (k[4] + k[0]) / 2)


def test_slerp_is_its_closed_form_in_the_plane():
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    for t in (0.0, 0.25, 1 / 3, 0.5, 0.9, 1.0):
        wanted = torch.tensor([math.cos(t * math.pi / 2), math.sin(t * math.pi / 2)])
        torch.testing.assert_close(slerp(a, b, t), wanted, rtol=0, atol=1e-7)


def test_slerp_turns_at_constant_speed_and_grows_evenly():
    a, b = 3 * keys()[0], keys()[1]
    way = [slerp(a, b, n / 10) for n in range(11)]
    steps = torch.stack([angle(way[n], way[n + 1]) for n in range(10)])
    torch.testing.assert_close(steps, (angle(a, b) / 10).expand(10), rtol=0, atol=1e-6)
    lengths = torch.stack(way).norm(dim=-1)
    torch.testing.assert_close(lengths, torch.lerp(a.norm(), b.norm(), torch.arange(11) / 10))


def test_slerp_of_equal_and_of_opposite_vectors_is_finite():
    a = keys()[0]
    torch.testing.assert_close(slerp(a, a, 0.3), a)
    torch.testing.assert_close(slerp(a, 2 * a, 0.5), 1.5 * a)
    torch.testing.assert_close(slerp(a, -a, 0.25), a / 2)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_a_looped_spline_is_as_smooth_at_its_seam_as_elsewhere(count):
    """Its first two derivatives, by finite differences in float64, are the same on both sides of every key."""
    k = keys(count).double()
    at, h = spline(k, loop=True), 1e-4
    for i in range(count):
        after = [at(i + n * h) for n in range(1, 5)]
        before = [at((i if i else count) - n * h) for n in range(1, 5)]

        def slope(side, i=i):  # one-sided, of second order
            return (-3 * k[i] + 4 * side[0] - side[1]) / (2 * h)

        def curvature(side, i=i):
            return (2 * k[i] - 5 * side[0] + 4 * side[1] - side[2]) / h**2

        torch.testing.assert_close(slope(after), -slope(before), rtol=0, atol=1e-5)
        torch.testing.assert_close(curvature(after), curvature(before), rtol=0, atol=1e-4)


def test_a_spline_that_is_no_loop_runs_straight_at_its_ends():
    k = keys().double()
    at, h = spline(k, loop=False), 1e-3
    for t, inward in ((0.0, h), (4.0, -h)):
        curvature = (2 * at(t) - 5 * at(t + inward) + 4 * at(t + 2 * inward) - at(t + 3 * inward)) / h**2
        torch.testing.assert_close(curvature, torch.zeros(D).double(), rtol=0, atol=1e-5)


def test_frames_lie_evenly_and_meet_every_key():
    assert times(2, 4, loop=False) == [0, 0.25, 0.5, 0.75, 1]
    assert times(2, 2, loop=True) == [0, 0.5, 1, 1.5]
    for frames in (1, 3, 7, 49, 60):
        for loop, last in ((True, 8 - 1 / frames), (False, 7)):
            moments = times(8, frames, loop)
            assert {float(key) for key in range(8)} <= set(moments) and moments[-1] == pytest.approx(last)


def test_easing_rests_at_keys_and_keeps_them():
    assert [ease(float(t)) for t in range(4)] == [0, 1, 2, 3]
    assert ease(2.5) == 2.5 and ease(1.25) == pytest.approx(1 + 3 / 16 - 2 / 64)
    assert (ease(1.001) - 1) / 0.001 < 0.004 and (2 - ease(1.999)) / 0.001 < 0.004
    moments = [ease(t) for t in times(4, 50, loop=True)]
    assert moments == sorted(moments)
