"""The other form of an enlarging convolution is the same convolution; what fusions are worth is told of every layer."""

import pytest
import torch
from click.testing import CliRunner

from benchmarks import fusion
from benchmarks.fusion import Worth, phases, table, transposed

FLAGS = "--resolution 16 --channel-base 64 --channel-max 8 --mapping-layers 2 --batch 2 --iterations 1 --threads 1"


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (1, 2)])
def test_four_phases_are_the_transposed_convolution(size):
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    w = torch.randn(3, 5, 3, 3, dtype=torch.float64, requires_grad=True)
    expected = torch.conv_transpose2d(x, w, stride=2)
    dy = torch.randn_like(expected)
    wanted = (expected, *torch.autograd.grad(expected, (x, w), dy))
    for form in (transposed, phases):
        y = form(x, w)
        found = (y, *torch.autograd.grad(y, (x, w), dy))
        assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(found, wanted, strict=True))


def test_what_is_saved_at_most_are_two_copies():
    *_, second, all_ = table([Worth("a", 1.0, 0.1, 0.5, 1.0), Worth("b", 3.0, 0.1, 0.5, 1.5)]).splitlines()
    assert second.split() == ["b", "3000.00", "200.00", "6.7%", "500.00", "1500.00", "3.00"]
    assert all_.split() == ["all", "4000.00", "400.00", "10.0%", "1000.00", "2500.00", "2.50"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_enlarging_layer_is_looked_at(precision):
    run = CliRunner().invoke(fusion.main, [*FLAGS.split(), "--precision", precision])
    assert run.exit_code == 0, run.output
    assert [line.split(",")[0].strip() for line in run.output.splitlines()[1:-1]] == ["2 x 8 -> 8", "2 x 8 -> 4"]
