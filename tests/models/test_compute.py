"""Layers with a number format of their own."""

import pytest
import torch
import torch.nn.functional as F

from models.compute import Linear, fixed_weights, set_compute
from models.diffusion.choices import DenoisingOptions
from models.diffusion.sampler import DenoisingSampler
from models.dit.config import DiTConfig
from models.dit.network import DiT


@pytest.mark.parametrize(("precision", "error"), [("fp32", 1e-6), ("bf16", 1e-2)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gelu", [True, False])
def test_fixed_weights_give_the_same_product(precision, error, bias, gelu):
    layer, x = set_compute(Linear(48, 32, bias), precision), torch.randn(2, 5, 48)
    with torch.no_grad():
        exact = F.linear(x.double(), layer.weight.double(), layer.bias.double() if bias else None)
        exact = F.gelu(exact, approximate="tanh") if gelu else exact
        with fixed_weights(layer):
            found = layer(x, gelu=gelu)
        assert layer.fixed is None
        assert found.dtype == layer(x).dtype and found.shape == (2, 5, 32)
    assert (found - exact).abs().max() < error * exact.abs().max()


def test_weights_that_change_afterwards_count():
    layer, x = Linear(4, 4), torch.randn(2, 4)
    with torch.no_grad(), fixed_weights(layer):
        layer(x)
    torch.nn.init.zeros_(layer.weight)
    assert torch.equal(layer(x), layer.bias.expand(2, 4))


def test_doubles_stay_exact():
    layer, x = Linear(4, 4).double(), torch.randn(2, 4, dtype=torch.float64)
    with torch.no_grad(), fixed_weights(layer):
        assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))


def test_a_sampler_fixes_weights_while_it_steps_and_no_longer():
    network = DiT(DiTConfig(height=4, width=4, patch=2, hidden=8, depth=1, heads=1))
    sampler, layer = DenoisingSampler(network, DenoisingOptions(steps=3)), network.blocks[0].mlp.fc1
    requests = sampler.requests([0])
    way = sampler.way(sampler.latents(requests), requests)
    next(way)
    assert layer.fixed is not None
    way.close()
    assert layer.fixed is None
    list(sampler.sample(requests))
    assert layer.fixed is None
