"""--cuda-graphs on a CPU, with a graph that runs its function again: its inputs, gradients and statistics."""

import pytest
import torch

from tests.training.runs import train
from tests.training.stylegan2.test_recipe import of, recipe
from torch_utils.stats import Collector
from training import plan as plans
from training.recipe import Draws
from training.stylegan2.recipe import StyleGAN2
from training.trial import HeldDraws, capture_phases

AUGMENTED = {"augment.mode": "ada", "augment.p": 0.5, "augment.pipe": "bgcfnc", "augment.interval": 1}


class Again:
    """Replays a function as a CUDA graph does: on the same memory, into the same memory, deaf to Python."""

    def __init__(self, function, pool):
        for _ in range(2):
            function()
        self.function, self.outputs = function, function()

    def replay(self):
        for (loss, reports), (new, others) in zip(self.outputs, self.function(), strict=True):
            loss.copy_(new)
            for name, values in reports.items():
                values.copy_(others[name])
        return self.outputs


def step(r: StyleGAN2, collector: Collector, iteration: int) -> None:
    """Of all phases, Gmain and Dmain in two rounds, on other images each time."""
    for phase in r.phases:
        torch.manual_seed(iteration)
        rounds = []
        for first in (0, 2):
            batch = of(r, torch.rand(2, 3, 16, 16) * 2 - 1, torch.randint(len(r.classes) or 1, [2]))
            draws = Draws(0, iteration, phase.name, 4, first, first + 2, torch.device("cpu"))
            rounds.append((batch, draws))
        phase.step((r.terms(phase, batch, draws) for batch, draws in rounds), 2, collector)
    r.after_step(seen=4 * iteration)


@pytest.mark.parametrize(
    ("loss", "classes", "options"),
    [("logistic", 0, {}), ("rpgan", 3, AUGMENTED), ("rpgan", 0, {"loss.noise": "const"})],
)
def test_replayed_phases_learn_what_eager_ones_learn(loss, classes, options):
    options = {"loss.kind": loss, "pace.batch_gpu": 2, "loss.mixing": 0.5, "discriminator.mbstd_group": 2, **options}
    replayed, eager = (recipe(classes, **options) for _ in range(2))
    assert capture_phases(replayed, Again) == "Gmain and Dmain run as CUDA graphs"
    for a, b in zip(replayed.networks.values(), eager.networks.values(), strict=True):
        assert all(torch.equal(a.state_dict()[key], value) for key, value in b.state_dict().items())
    places = [p.grad.data_ptr() for p in replayed.G.parameters() if p.grad is not None]
    collectors = Collector(), Collector()
    for iteration in range(5):
        for r, collector in zip((replayed, eager), collectors, strict=True):
            step(r, collector, iteration)
    assert places == [p.grad.data_ptr() for p in replayed.G.parameters() if p.grad is not None]
    a, b = (collector.read() for collector in collectors)
    assert a.keys() == b.keys() and len(a) > 15
    for name in a:  # sums of ws are taken in another order, and Adam makes whole steps of the smallest gradients
        assert a[name].count == b[name].count
        assert a[name].mean == pytest.approx(b[name].mean, rel=1e-2, abs=1e-2), name
    torch.testing.assert_close(replayed.G.mapping.w_average, eager.G.mapping.w_average, rtol=1e-2, atol=1e-3)
    assert torch.equal(replayed.strength.p, eager.strength.p)


def test_nothing_that_a_trial_saw_is_learned():
    r = recipe(**AUGMENTED)
    capture_phases(r, Again)
    r.strength.adjust(seen=0)
    assert not r.strength.signs.any() and not r.G.mapping.w_average.any()
    assert all(not p.requires_grad and not p.grad.any() for p in (*r.G.parameters(), *r.D.parameters()))


class Deaf(Again):
    """Takes no new inputs: what it was captured with comes out for ever."""

    def replay(self):
        for p, gradient in self.gradients:
            p.grad += gradient
        return self.outputs

    def __init__(self, function, pool):
        self.outputs = function()
        self.gradients = [(p, p.grad.clone()) for p in function.__self__._phase.parameters]


class Absent:
    def __init__(self, function, pool):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")


@pytest.mark.parametrize(
    "graph, reason",
    [
        (Absent, "does not work here (operation not permitted when stream is capturing"),
        (Deaf, "does not work here (its gradients of Gmain are "),
    ],
)
def test_graphs_that_fail_or_err_are_given_up(graph, reason):
    r, plain = recipe(), recipe()
    said = capture_phases(r, graph)
    assert said.startswith(f"--cuda-graphs {reason}") and said.endswith(": training continues without it")
    assert not any(phase.replay or phase.owns_gradients for phase in r.phases)
    for one in (r, plain):
        collector = Collector()
        batch = of(one, torch.zeros(4, 3, 16, 16), torch.zeros(4, dtype=torch.int64))
        for phase in one.phases:
            draws = Draws(0, 0, phase.name, 4, 0, 4, torch.device("cpu"))
            phase.step([one.terms(phase, batch, draws)], 1, collector)
    assert all(torch.equal(a, b) for a, b in zip(r.G.parameters(), plain.G.parameters(), strict=True))


def test_held_draws_keep_their_memory_and_take_new_numbers():
    first, second = (Draws(0, i, "Gmain", 4, 0, 4, torch.device("cpu")) for i in (1, 2))
    held, thresholds = HeldDraws(first), torch.tensor([1.0, 3.0])
    asked = {
        "latents": ("z", 3),
        "uniforms": ("u", 2),
        "classes": ("class", thresholds),
        "normal": ("n", torch.Size([4, 2])),
        "pictures": ("noise", [[2, 3], [4]]),
        "crossover": (100, 1.0),
    }
    handed = {name: getattr(held, name)(*arguments) for name, arguments in asked.items()}
    for draws in (first, second):
        held.renew(draws)
        for name, arguments in asked.items():
            expected = getattr(draws, name)(*arguments)
            again = getattr(held, name)(*arguments)
            every = [t if isinstance(t, list) else [t] for t in (again, handed[name], expected)]
            for new, old, wanted in zip(*every, strict=True):
                assert new is old and torch.equal(new, torch.as_tensor(wanted)), name
    with pytest.raises(RuntimeError, match="a captured phase draws 'mix' on the host"):
        held.uniform("mix")


def test_several_processes_do_without(monkeypatch):
    monkeypatch.setattr("training.trial.distributed.world", lambda: 2)
    assert capture_phases(recipe(), Again) == "--cuda-graphs works in one process only: training continues without it"


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"device": "cpu"}, "--cuda-graphs needs a CUDA device, and the device is cpu: leave it out"),
        ({"compile": True}, "--compile and --cuda-graphs exclude each other: give one of them"),
    ],
)
def test_is_refused_in_one_sentence(tmp_path, options, sentence):
    with pytest.raises(ValueError) as error:
        plans.begin({"data.path": "demo:16", "device": "cpu", "cuda_graphs": True, **options}, tmp_path)
    assert sentence in str(error.value)


def test_the_log_of_a_run_says_what_became_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr("training.session.capture_phases", lambda recipe: capture_phases(recipe, Again))
    monkeypatch.setattr("training.config.GRAPH_DEVICES", ("auto", "cuda", "cpu"))
    folder = train(tmp_path, pace__kimg=0.02, cuda_graphs=True)
    assert "Gmain and Dmain run as CUDA graphs" in (folder / "log.txt").read_text()
