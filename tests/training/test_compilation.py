"""--compile: the same gradients, or none of it."""

import re
from functools import partial

import pytest
import torch
from torch._dynamo.utils import counters

from tests.training.runs import train
from tests.training.test_resume import assert_equal_networks
from tests.training.test_stylegan2 import draws, reals, recipe
from training import compilation
from training.compilation import compile_passes
from training.stylegan2 import StyleGAN2


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
    for iteration in range(4):
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


@pytest.mark.parametrize(
    "backend, sentence",
    [
        (broken, r"--compile does not work here \(no compiler was found\): training goes on without it"),
        (wrong, r"--compile gives gradients of Gmain that are [0-9.]+% off: training goes on without it"),
    ],
)
def test_what_fails_or_errs_is_given_up(backend, sentence):
    r, plain = recipe(), recipe()
    said = compile_passes(r, backend)
    assert re.fullmatch(sentence, said), said
    assert r.passes is r.plain
    assert all(torch.equal(a, b) for a, b in zip(gradients(r, "Gmain", 0), gradients(plain, "Gmain", 0), strict=True))


def test_processes_agree_to_give_it_up(monkeypatch):
    r = recipe()
    monkeypatch.setattr(compilation, "_compiled", lambda recipe, backend: recipe.plain)
    monkeypatch.setattr(compilation.distributed, "least", lambda number: 0)
    assert compile_passes(r) == "--compile does not work for another process: training goes on without it"


def test_a_run_is_trained_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr("training.session.compile_passes", partial(compile_passes, backend="eager"))
    compiled = train(tmp_path / "compiled", pace__kimg=0.02, compile=True)
    assert "Gmain and Dmain run compiled" in (compiled / "log.txt").read_text()
    assert_equal_networks(train(tmp_path / "plain", pace__kimg=0.02), compiled)
