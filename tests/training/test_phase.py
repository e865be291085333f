"""How a step is taken: averaging, the order of terms, lazy regularization, and steps that are skipped."""

import copy

import pytest
import torch
from torch import nn

from torch_utils.stats import Collector
from training.phase import Phase, decay_groups, inverse_time, warm_up
from training.recipe import load_moments
from training.stylegan2.recipe import adam


def make_phase(interval=1):
    torch.manual_seed(0)
    network = nn.Linear(3, 1).requires_grad_(False)
    return Phase("test", network, adam(network.parameters(), 0.01, (0.0, 0.99), 1e-8, 0), interval)


def loss_of(phase: Phase, x: torch.Tensor):
    yield phase.network(x).square().mean(), {}


def test_lazy_regularization_corrects_adam():
    """r = k / (k + 1): G with k = 4 has lr x 0.8 and beta2 0.991992, D with k = 16 lr x 16/17 and 0.990585."""
    group = adam(nn.Linear(1, 1).parameters(), 0.002, (0.0, 0.99), 1e-8, 4).param_groups[0]
    assert group["lr"] == pytest.approx(0.0016)
    assert group["betas"] == (0.0, pytest.approx(0.991992, abs=1e-6))
    group = adam(nn.Linear(1, 1).parameters(), 0.002, (0.0, 0.99), 1e-8, 16).param_groups[0]
    assert group["lr"] == pytest.approx(0.002 * 16 / 17)
    assert group["betas"] == (0.0, pytest.approx(0.990585, abs=1e-6))
    assert adam(nn.Linear(1, 1).parameters(), 0.002, (0.0, 0.99), 1e-8, 0).param_groups[0]["lr"] == 0.002


def test_adam_is_adam():
    """Two steps against the update written out (Kingma and Ba 2015, algorithm 1)."""
    phase = make_phase()
    x = torch.randn(5, 3)
    w = phase.network.weight.double().clone()
    m, v, beta1, beta2 = 0.0, 0.0, 0.0, 0.99
    b = phase.network.bias.double().clone()
    mb, vb = 0.0, 0.0
    for t in (1, 2):
        y = x.double() @ w.t() + b
        gw, gb = (2 * y * x.double()).mean(0, keepdim=True), (2 * y).mean(0)
        m, v = beta1 * m + (1 - beta1) * gw, beta2 * v + (1 - beta2) * gw**2
        mb, vb = beta1 * mb + (1 - beta1) * gb, beta2 * vb + (1 - beta2) * gb**2
        w = w - 0.01 * (m / (1 - beta1**t)) / ((v / (1 - beta2**t)) ** 0.5 + 1e-8)
        b = b - 0.01 * (mb / (1 - beta1**t)) / ((vb / (1 - beta2**t)) ** 0.5 + 1e-8)
        phase.step([loss_of(phase, x)], 1, Collector())
    torch.testing.assert_close(phase.network.weight.double(), w, atol=1e-6, rtol=1e-5)


def test_rounds_average_to_the_whole_batch():
    x = torch.randn(8, 3)
    whole, parts = make_phase(), make_phase()
    whole.step([loss_of(whole, x)], 1, Collector())
    parts.step((loss_of(parts, part) for part in x.split(2)), 4, Collector())
    torch.testing.assert_close(parts.network.weight.grad, whole.network.weight.grad)
    torch.testing.assert_close(parts.network.weight, whole.network.weight)


def test_losses_count_interval_times():
    x = torch.randn(4, 3)
    often, rarely = make_phase(1), make_phase(16)
    often.step([loss_of(often, x)], 1, Collector())
    rarely.step([loss_of(rarely, x)], 1, Collector())
    torch.testing.assert_close(rarely.network.weight.grad, 16 * often.network.weight.grad)
    assert [i for i in range(40) if i % rarely.interval == 0] == [0, 16, 32]


def test_a_term_is_freed_before_the_next_is_built():
    phase, order = make_phase(), []

    def terms():
        for name in "ab":
            y = phase.network(torch.randn(2, 3))
            y.register_hook(lambda gradient, name=name: order.append(f"backward {name}"))
            order.append(f"forward {name}")
            yield y.sum(), {}

    phase.terms = 2
    phase.step([terms()], 1, Collector())
    assert order == ["forward a", "backward a", "forward b", "backward b"]


def test_only_the_phases_own_network_is_differentiated_and_only_within_the_step():
    phase = make_phase()
    other = nn.Linear(1, 1).requires_grad_(False)

    def terms():
        assert all(p.requires_grad for p in phase.network.parameters())
        yield other(phase.network(torch.randn(2, 3))).sum(), {}

    phase.step([terms()], 1, Collector())
    assert not any(p.requires_grad for p in phase.network.parameters())
    assert all(p.grad is None for p in other.parameters())


OPTIMIZERS = {
    "fused Adam": lambda p: torch.optim.Adam(p, 0.01, fused=True),
    "Adam": lambda p: torch.optim.Adam(p, 0.01),
    "fused AdamW": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1, fused=True),
    "AdamW": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1, foreach=True),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_a_step_without_finite_gradients_changes_nothing(poison, kind):
    phase = make_phase()
    phase = Phase("test", phase.network, OPTIMIZERS[kind](phase.network.parameters()), clip=1.0)
    x = torch.randn(4, 3)
    phase.step([loss_of(phase, x)], 1, Collector())
    before = copy.deepcopy((phase.network.state_dict(), phase.optimizer.state_dict()["state"]))
    bad = x.clone()
    bad[2, 1] = poison
    phase.step([loss_of(phase, bad)], 1, Collector())
    assert phase.skipped() == 1
    after = (phase.network.state_dict(), phase.optimizer.state_dict()["state"])
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    phase.step([loss_of(phase, x)], 1, Collector())
    assert not torch.equal(phase.network.weight, before[0]["weight"]) and phase.skipped() == 1


def test_large_gradients_are_clipped_and_counted():
    """To the length of `clip`, in their own direction."""
    x, collector = torch.randn(4, 3), Collector()
    free, bound = make_phase(), make_phase()
    bound.clip = 0.5
    for phase in (free, bound):
        phase.step([loss_of(phase, 10 * x)], 1, collector)
    a, b = (torch.cat([p.grad.flatten() for p in phase.parameters]) for phase in (free, bound))
    assert a.norm() > 1 and float(b.norm()) == pytest.approx(0.5, rel=1e-4)
    torch.testing.assert_close(b, a * 0.5 / a.norm())
    bound.clip = 1e9
    bound.step([loss_of(bound, x)], 1, collector)
    moments = collector.read()
    assert moments["clipped/test"].mean == 0.5 and moments["gradients/test"].mean > 0.5  # the norm before clipping


def test_a_rate_is_a_function_of_the_images_seen():
    phase = make_phase()
    phase.rate = warm_up(1000)
    before = phase.network.weight.clone()
    phase.step([loss_of(phase, torch.ones(1, 3))], 1, Collector(), seen=0)
    assert torch.equal(phase.network.weight, before), "the warm-up begins with 0"
    phase.step([loss_of(phase, torch.ones(1, 3))], 1, Collector(), seen=250)
    assert phase.optimizer.param_groups[0]["lr"] == pytest.approx(0.01 / 4)
    again = Phase("other", phase.network, phase.optimizer)  # of the same optimizer, with a rate of its own
    again.step([loss_of(again, torch.ones(1, 3))], 1, Collector(), seen=250)
    assert phase.optimizer.param_groups[0]["lr"] == 0.01
    assert [warm_up(1000)(seen) for seen in (500, 1000, 5000)] == [0.5, 1, 1] and warm_up(0)(0) == 1
    assert inverse_time(5e-5, batch=8)(8 * 20_000) == 0.5  # after 20,000 iterations


def test_matrices_decay_and_vectors_do_not():
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.LayerNorm(4), nn.Linear(4, 5, bias=False))
    decaying, others = decay_groups(network, 0.1)
    assert [p.ndim for p in decaying["params"]] == [4, 2] and decaying["weight_decay"] == 0.1
    assert [p.ndim for p in others["params"]] == [1, 1, 1] and others["weight_decay"] == 0
    optimizer = torch.optim.AdamW([decaying, others], 0.01)
    assert len(Phase("test", network, optimizer).parameters) == len(list(network.parameters()))


def test_a_phase_whose_losses_have_another_number_of_terms_is_a_mistake():
    phase = make_phase()
    phase.terms = 2
    with pytest.raises(AssertionError, match="test yields 1 terms in a round, not 2"):
        phase.step([loss_of(phase, torch.ones(1, 3))], 1, Collector())


def test_ten_skips_in_a_row_stop_the_run():
    phase = make_phase()
    good, bad = torch.ones(1, 3), torch.full([1, 3], float("nan"))
    for x in [bad] * 9 + [good] + [bad] * 9:
        phase.step([loss_of(phase, x)], 1, Collector())
    phase.check("patience")
    assert phase.skipped() == 18
    for x in [bad] * 10:
        phase.step([loss_of(phase, x)], 1, Collector())
    with pytest.raises(FloatingPointError, match=r"of test were infinite or nan 1\d times in a row.* with patience$"):
        phase.check("patience")


def test_moments_are_taken_up_in_the_layout_of_the_weights():
    """The fused Adam walks through memory; moments from a file are laid out otherwise than channels-last weights."""
    torch.manual_seed(0)
    start, gradients = torch.randn(4, 3, 3, 3), torch.randn(3, 4, 3, 3, 3)

    def learner() -> tuple[nn.Conv2d, torch.optim.Adam]:
        conv = nn.Conv2d(3, 4, 3, bias=False)
        conv.weight.data = start.contiguous(memory_format=torch.channels_last)
        return conv, adam(conv.parameters(), 0.1, (0.5, 0.9), 1e-8, 0)

    def take(conv: nn.Conv2d, optimizer: torch.optim.Adam, gradient: torch.Tensor) -> None:
        conv.weight.grad = torch.empty_like(conv.weight).copy_(gradient)
        optimizer.step()

    conv, optimizer = learner()
    for gradient in gradients[:2]:
        take(conv, optimizer, gradient)
    saved = {i: {k: m.clone().contiguous() for k, m in s.items()} for i, s in enumerate(optimizer.state.values())}
    again, other = learner()
    again.weight.data.copy_(conv.weight)
    load_moments(other, saved)
    for which in ((conv, optimizer), (again, other)):
        take(*which, gradients[2])
    assert torch.equal(conv.weight, again.weight)
