"""Pictures that differ little from the last ones: equal to the whole to the last bit, and nothing else is computed."""

import random

import pytest
import torch

from models.families import load_sampler
from models.sampler import Remembering
from models.stylegan2.memory import Memory
from models.stylegan2.sampler import StyleOptions, StyleSampler
from tests.documents import BUNDLED
from tests.networks import requests, tiny_generator

G = tiny_generator()  # 16x16: blocks 0 to 2, w 0 to 5
NOISES = [torch.full_like(noise, 0.1) for noise in G.synthesis.noises(1, "const", None) if noise is not None]


def first_ws() -> torch.Tensor:
    return torch.randn(1, G.synthesis.num_ws, 8, generator=torch.Generator().manual_seed(1))


def parts(*names: str) -> list[str]:
    """All parts, in order, whose name begins so."""
    every = ["const", *(f"{kind} {k}" for k in range(3) for kind in ("features", "image"))]
    return [part for part in every if part.startswith(names)]


@pytest.mark.parametrize(
    ("layer", "computed"),
    [
        (0, parts("features", "image")),
        (1, ["image 0", *parts("features 1", "features 2", "image 1", "image 2")]),
        (2, parts("features 1", "image 1", "features 2", "image 2")),
        (3, ["image 1", "features 2", "image 2"]),
        (4, ["features 2", "image 2"]),
        (5, ["image 2"]),
    ],
)
def test_parts_after_a_changed_w_are_computed(layer, computed):
    memory, ws = Memory(G.synthesis), first_ws()
    memory.render(ws, NOISES)
    assert memory.computed == parts("")
    memory.render(ws.clone(), NOISES)
    assert memory.computed == []
    changed = ws.clone()
    changed[:, layer] += 0.1
    found = memory.render(changed, NOISES)
    assert sorted(memory.computed) == sorted(computed)
    assert torch.equal(found, G.synthesis.render(changed, NOISES))
    assert torch.equal(memory.render(ws, NOISES), G.synthesis.render(ws, NOISES)) and memory.computed == []


@pytest.mark.parametrize(
    ("layer", "computed"),
    [
        (0, parts("features", "image")),
        (1, parts("features 1", "features 2", "image 1", "image 2")),
        (4, ["features 2", "image 2"]),
    ],
)
def test_parts_after_a_changed_noise_are_computed(layer, computed):
    memory, ws = Memory(G.synthesis), first_ws()
    memory.render(ws, NOISES)
    noises = [noise + 1 if k == layer else noise for k, noise in enumerate(NOISES)]
    found = memory.render(ws, noises)
    assert sorted(memory.computed) == sorted(computed)
    assert torch.equal(found, G.synthesis.render(ws, noises))


def test_given_tensors_may_change_afterwards():
    memory, ws, noises = Memory(G.synthesis), first_ws(), [noise.clone() for noise in NOISES]
    memory.render(ws, noises)
    ws[:, 3] += 1
    noises[4] += 1
    assert torch.equal(memory.render(ws, noises), G.synthesis.render(ws, noises))


@pytest.mark.parametrize("settings", [{}, {"architecture": "residual"}, {"architecture": "plain"}, {"classes": 3}])
def test_a_walk_through_states_gives_the_pictures_of_the_whole(settings):
    network, draws = tiny_generator(**settings), random.Random(0)
    network.fold()
    plain = StyleSampler(network)
    remembering = plain.remembering()
    assert isinstance(remembering, Remembering) and plain.memory is None
    asked = requests(range(3), [0, 1, 2] if settings.get("classes") else None)
    for _ in range(60):
        options = StyleOptions(
            psi=draws.choice([0.5, 1.0]),
            psi_cutoff=draws.choice([None, 2, 5]),
            noise_mode=draws.choice(["const", "random", "none"]),
        )
        request = draws.choice(asked)
        (whole,) = plain.with_options(options).sample([request])
        (found,) = remembering.with_options(options).sample([request])
        assert torch.equal(whole, found)


def test_prepared_steps_and_modules_share_results_and_hooks_hear_of_both():
    network, heard = tiny_generator().fold(), []
    memory, ws = Memory(network.synthesis), first_ws()
    with torch.no_grad():
        assert network.synthesis.steps(ws) is not None
    hook = torch.nn.modules.module.register_module_forward_pre_hook(lambda module, inputs: heard.append(module))
    try:
        found = memory.render(ws, NOISES)
    finally:
        hook.remove()
    assert heard.count(memory.pause) == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network.synthesis, "steps", lambda ws: None)
        assert memory.render(ws, NOISES) is found
        assert torch.equal(Memory(network.synthesis).render(ws, NOISES), found)


def test_threads_do_not_share_results():
    memory, ws, before = Memory(G.synthesis), first_ws(), torch.get_num_threads()
    memory.render(ws, NOISES)
    try:
        torch.set_num_threads(before + 1)
        memory.render(ws, NOISES)
        assert memory.computed == parts("")
    finally:
        torch.set_num_threads(before)
    memory.render(ws, NOISES)
    assert memory.computed == []


def test_few_results_are_kept(monkeypatch):
    memory = Memory(G.synthesis)
    for seed in range(9):
        memory.render(torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(seed)), NOISES)
    assert {len(kept) for kept in memory._kept.values()} <= {1, 2}
    monkeypatch.setattr("models.stylegan2.memory.LARGEST", 100)
    limited = Memory(G.synthesis)
    for _ in range(2):
        assert torch.equal(limited.render(first_ws(), NOISES), G.synthesis.render(first_ws(), NOISES))
        assert "features 2" in limited.computed


def test_copies_with_other_weights_share_nothing():
    assert StyleSampler(G).remembering().in_float32().memory is None


def test_a_fine_style_of_the_bundled_network_costs_a_third(monkeypatch):
    """From w number 7 on, the RGB layer of block 3 and block 4 are computed again: a third of the work at 64x64."""
    sampler = load_sampler(BUNDLED).remembering()
    asked = sampler.requests([85], 1)
    list(sampler.sample(asked))
    list(sampler.with_options(sampler.options.model_copy(update={"psi": 0.5, "psi_cutoff": 0})).sample(asked))
    assert sampler.memory.computed == []
    ws = sampler.ws(asked)
    ws[:, 7:] *= 0.9
    sampler.render(ws, asked)
    assert sampler.memory.computed == ["image 3", "features 4", "image 4"]
