import math

import numpy as np
import pytest
import torch

from torch_utils.stats import Collector


def test_moments_are_those_of_all_values_in_float64():
    collector, values = Collector(), np.random.RandomState(0).randn(5, 7, 3).astype(np.float32) * 1e-3 + 100
    for part in values:
        collector.add("x", torch.from_numpy(part))
    moments = collector.read()["x"]
    assert moments.count == values.size
    assert moments.mean == pytest.approx(values.astype(np.float64).mean(), rel=1e-12)
    assert moments.std == pytest.approx(values.astype(np.float64).std(), rel=1e-4)


def test_non_finite_values_are_counted_apart():
    collector = Collector()
    collector.add("loss", torch.tensor([1.0, math.nan, 3.0, math.inf, -math.inf]))
    collector.add("bad", torch.tensor(math.nan))
    moments = collector.read()
    assert (moments["loss"].mean, moments["loss"].std) == (2.0, 1.0)
    assert (moments["loss"].count, moments["loss"].nonfinite) == (2, 3)
    assert (moments["bad"].count, moments["bad"].nonfinite) == (0, 1)
    assert math.isnan(moments["bad"].mean)


def test_reading_starts_anew_and_leaves_out_what_was_not_fed():
    collector = Collector()
    collector.add("a", torch.ones(2))
    collector.add("b", torch.tensor(1.0))
    assert list(collector.read()) == ["a", "b"]
    assert collector.read() == {}
    collector.add("a", torch.tensor(5.0))
    assert collector.read()["a"].mean == 5.0


def _feed(collector, steps):
    for step in steps:
        draws = np.random.RandomState(step)
        collector.add("loss", torch.from_numpy(draws.randn(17)))
        if step % 3 == 0:
            collector.add("lazy", torch.from_numpy(draws.randn(2)))


def test_open_statistics_survive_a_resume_bit_for_bit():
    straight = Collector()
    _feed(straight, range(4))
    state = straight.state_dict()
    _feed(straight, range(4, 9))

    resumed = Collector()
    resumed.load_state_dict(state)
    _feed(resumed, range(4, 9))
    assert resumed.read() == straight.read()


def test_sums_of_several_processes_make_one_reading():
    first, second, both = Collector(), Collector(), Collector()
    first.add("b", torch.tensor([1.0]))
    first.add("a", torch.tensor([4.0]))
    second.add("a", torch.tensor([2.0]))  # the other order of names
    second.add("b", torch.tensor([7.0]))
    both.add("a", torch.tensor([4.0, 2.0]))
    both.add("b", torch.tensor([1.0, 7.0]))
    theirs = second.state_dict()["sums"]
    assert first.read(lambda table: table.add_(theirs)) == both.read()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_adding_never_waits_for_the_device():
    collector, x = Collector("cuda"), torch.randn(1000, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            collector.add("x", x)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert collector.read()["x"].mean == pytest.approx(x.double().mean().item(), rel=1e-12)
