"""Values that are computed a second time instead of being kept."""

import pytest
import torch
from torch import nn

from torch_utils.forward import call


class Doubtful(nn.Module):
    """Several activations, noise from outside, and a count of its calls."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(5, 64), nn.Softplus(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 3))
        self.calls = 0

    def forward(self, x, noise):
        self.calls += 1
        return self.layers(x) * noise, x.sum()


def gradients(recompute: bool) -> list[torch.Tensor]:
    """First and second derivatives of a penalty such as R1's."""
    torch.manual_seed(1)
    network, x, noise = Doubtful(), torch.randn(7, 5, requires_grad=True), torch.randn(7, 3)
    y, total = call(network, x, noise, recompute=recompute)
    assert network.calls == 1
    (first,) = torch.autograd.grad((y.sum() + total), x, create_graph=True)
    first.square().sum().backward()
    assert (network.calls > 1) == recompute
    leaves = [x, *network.parameters()]
    return [first.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def test_gradients_are_the_same_to_the_last_bit():
    kept, computed_again = gradients(False), gradients(True)
    assert len(kept) == len(computed_again) > 5
    assert all(torch.equal(a, b) for a, b in zip(kept, computed_again, strict=True))


@pytest.mark.parametrize("recompute", [False, True])
def test_only_the_inputs_are_kept(recompute):
    kept: list[int] = []
    network, x = Doubtful(), torch.randn(7, 5, requires_grad=True)
    own = {p.data_ptr() for p in network.parameters()}

    def pack(tensor):
        if tensor.data_ptr() not in own:
            kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call(network, x, torch.ones(7, 3), recompute=recompute)
    assert (7 * 64 in kept) != recompute


def test_without_gradients_nothing_changes():
    network = Doubtful()
    with torch.no_grad():
        y, _ = call(network, torch.ones(2, 5), torch.ones(2, 3), recompute=True)
    assert network.calls == 1 and not y.requires_grad
