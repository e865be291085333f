import math

import pytest
import torch
from torch import nn

from training.recipe import Average, ema_beta


def test_a_weight_halves_in_its_half_life():
    assert ema_beta(batch=32, seen=10**9, half_life=10_000, ramp=0.0) ** (10_000 / 32) == pytest.approx(0.5)


def test_the_ramp_limits_the_half_life_at_first():
    assert ema_beta(4, seen=1000, half_life=10_000, ramp=0.05) == pytest.approx(0.5 ** (4 / 50))
    assert ema_beta(4, seen=10**7, half_life=10_000, ramp=0.05) == pytest.approx(0.5 ** (4 / 10_000))


def test_without_history_the_average_is_the_network():
    assert ema_beta(4, seen=0, half_life=10_000, ramp=0.05) == 0.0
    assert ema_beta(4, seen=100, half_life=0.0, ramp=0.0) == 0.0


def test_parameters_are_averaged_and_buffers_copied():
    network = nn.BatchNorm1d(3)
    average = Average(network, half_life=1 / math.log2(1 / 0.75))
    with torch.no_grad():
        network.weight.fill_(5.0)
    network.running_mean.fill_(7.0)
    average.update(batch=1, seen=0)
    average = average.network
    torch.testing.assert_close(average.weight.data, torch.full([3], 0.75 * 1 + 0.25 * 5))
    torch.testing.assert_close(average.running_mean, torch.full([3], 7.0))
