"""--compile: the same gradients, or none of it."""

import re
from contextlib import nullcontext

import pytest
import torch
from torch._dynamo.utils import counters

from tests.training.runs import train
from tests.training.stylegan2.test_recipe import draws, reals, recipe
from training import trial
from training.stylegan2.recipe import StyleGAN2
from training.trial import compile_passes


@pytest.fixture(autouse=True)
def _nothing_stays_compiled():
    yield
    torch._dynamo.reset()


def gradients(r: StyleGAN2, name: str, iteration: int) -> list[torch.Tensor]:
    phase = next(p for p in r.phases if p.name == name)
    phase.differentiate([r.losses(phase, reals(r), draws(name, iteration=iteration))], 1)
    return [p.grad for p in phase.network.parameters() if p.grad is not None]


def test_compiled_passes_give_the_same_gradients():
    """In all phases, with noise and classes, with style mixing and without; compiled down to PyTorch's operators."""
    options = {"loss.mixing": 0.5, "augment.mode": "ada", "augment.p": 0.5, "augment.pipe": "bgcfnc"}
    compiled, plain = (recipe(3, **options) for _ in range(2))
    before = {key: value.clone() for key, value in compiled.G.state_dict().items()}
    assert compile_passes(compiled, "aot_eager") == "Gmain and Dmain run compiled"
    assert compiled.passes is not compiled.plain
    compiled.strength.adjust(seen=0)
    assert not compiled.strength.signs.any()  # what was scored to try it out is forgotten
    assert all(torch.equal(before[key], value) for key, value in compiled.G.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in (*compiled.G.parameters(), *compiled.D.parameters()))
    graphs = counters["stats"]["unique_graphs"]
    for iteration in range(2):
        for name in ("Gmain", "Gpath", "Dmain", "Dr1"):
            a, b = gradients(compiled, name, iteration), gradients(plain, name, iteration)
            assert len(a) == len(b) > 20
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert counters["stats"]["unique_graphs"] == graphs  # nothing had to be compiled later
    assert not counters["graph_break"]


def broken(graph, inputs):
    raise RuntimeError("no compiler was found\nand a long story")


def wrong(graph, inputs):
    """Drops a factor, as a compiler did."""
    return lambda *values: [value * 1.1 if value.is_floating_point() else value for value in graph(*values)]


GIVEN_UP = ": training continues without it"


@pytest.mark.parametrize(
    "backend, precision, reason",
    [
        (broken, "fp32", r"does not work here \(no compiler was found\)"),
        (wrong, "fp32", r"does not work here \(its gradients of Gmain are [0-9.]+% off\)"),
        pytest.param(
            wrong,
            "bf16",
            r"does not work here \(its gradients of Gmain are [0-9.]+% off \(without it [0-9.]+%\)\)",
            marks=pytest.mark.proof,
        ),
    ],
)
def test_what_fails_or_errs_is_given_up(backend, precision, reason):
    r, plain = recipe(precision=precision), recipe(precision=precision)
    sentence = f"--compile {reason}{GIVEN_UP}"
    said = compile_passes(r, backend)
    assert re.fullmatch(sentence, said), said
    assert r.passes is r.plain
    assert all(torch.equal(a, b) for a, b in zip(gradients(r, "Gmain", 0), gradients(plain, "Gmain", 0), strict=True))


@pytest.mark.parametrize(
    "usual, found, good",
    [(0.04, 0.03, True), (0.04, 0.06, True), (0.04, 0.08, False), (0.04, float("nan"), False)],
)
def test_rounding_of_the_same_size_passes_and_more_does_not(usual, found, good):
    """Relative distances to gradients in fp32; the two errors point in directions of their own."""
    exact = torch.tensor([1.0, 0, 0])
    gradients = [{"Gmain": exact + torch.tensor(error)} for error in ([0, usual, 0], [0, 0, found])]
    with nullcontext() if good else pytest.raises(ValueError, match=r"% off \(without it 4\.0%\)$"):
        trial._compare(gradients[1], gradients[0], {"Gmain": exact}, slack=5e-3)


def test_processes_agree_to_give_it_up(monkeypatch):
    r = recipe()
    monkeypatch.setattr(trial.distributed, "least", lambda number: 0)
    assert compile_passes(r, "eager") == f"--compile does not work here (in another process){GIVEN_UP}"


def test_the_log_of_a_run_says_what_became_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr("training.session.compile_passes", lambda recipe: f"{type(recipe).__name__} runs compiled")
    folder = train(tmp_path, pace__kimg=0.004, metrics="none", compile=True)
    assert "StyleGAN2 runs compiled" in (folder / "log.txt").read_text()
