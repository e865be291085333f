"""Gradients of several processes: what is exchanged, when, and where it is kept."""

import torch
import torch.distributed as dist
from torch import nn

from tests.processes import together
from torch_utils import distributed
from torch_utils.distributed import GradientExchange
from torch_utils.stats import Collector
from training.phase import Phase


class Network(nn.Module):
    """Layers in the order of their use, a channels-last kernel among them, and one that no loss reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.conv: nn.Module = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.lost = nn.Linear(2, 2)
        self.linear = nn.Linear(5, 7)
        self.out = nn.Linear(7, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.linear(torch.tanh(self.conv(x)).mean(dim=[2, 3]))))


def phase_of(network: Network) -> Phase:
    return Phase("test", network, torch.optim.SGD(network.parameters(), 0.0), interval=3, terms=2)


def terms(network: Network, x: torch.Tensor):
    """The penalty of a gradient, which is differentiated twice, and a loss."""
    yield penalty(network, x), {}
    yield network(x).square().mean(), {}


def penalty(network: Network, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    return gradient.square().sum(dim=[1, 2, 3]).mean() * 10


def gradients(images: torch.Tensor, rounds: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    network = Network().requires_grad_(False)
    phase_of(network).step((terms(network, part) for part in images.chunk(rounds)), rounds, Collector())
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def test_two_processes_have_the_gradients_of_one():
    torch.manual_seed(0)
    images = torch.randn(8, 3, 6, 6)
    together(_process, images, {k: g.clone() for k, g in gradients(images, 1).items()})


def _process(rank, images, expected):
    distributed.start("cpu")
    for rounds in (1, 2):
        found = gradients(images[rank * 4 : rank * 4 + 4], rounds)
        assert found.keys() == expected.keys()
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)
        assert not found["lost.weight"].any() and found["conv.weight"].stride() == (27, 1, 9, 3)
        again = gradients(images[rank * 4 : rank * 4 + 4], rounds)
        assert all(torch.equal(again[name], found[name]) for name in found)
    _check_the_order(images[:2])
    distributed.barrier()
    distributed.stop()


def _check_the_order(images):
    """Buckets, here of one gradient, are sent during the last backward pass of the last round."""
    network, events, honest = Network(), [], dist.all_reduce

    def sent(flat, **how):
        events.append(flat.numel())
        return honest(flat, **how)

    def told(round):
        for number, term in enumerate(terms(network, images)):
            events.append(f"backward {round}.{number}")
            yield term
            events.append("end")

    phase = phase_of(network)
    exchange = GradientExchange(phase.parameters, size=1)
    dist.all_reduce = sent
    try:
        phase.differentiate((told(round) for round in range(2)), 2, exchange=exchange)
        places = [p.grad.untyped_storage().data_ptr() for p in phase.parameters]
        exchange.finish()
        assert places == [p.grad.untyped_storage().data_ptr() for p in phase.parameters]
    finally:
        dist.all_reduce = honest
    assert events[:7] == ["backward 0.0", "end", "backward 0.1", "end", "backward 1.0", "end", "backward 1.1"]
    assert events[7:] == [16, 16, 16, 48, "end", 16, 16, 16, 144]  # the gradient of `lost` never comes
