"""--checkpoint-activations changes the memory of a step, its duration, and nothing else."""

import pytest
import torch

from models.stylegan2.discriminator import DiscriminatorBlock
from models.stylegan2.generator import GeneratorBlock
from tests.training.runs import train
from tests.training.stylegan2.test_recipe import draws, reals, recipe
from torch_utils import checkpoint
from training.batch_gpu import footprint
from training.stylegan2.config import resolve
from training.stylegan2.recipe import StyleGAN2

PHASES = ["Gmain", "Gpath", "Dmain", "Dr1"]


def noisy(checkpoint_activations: bool, **given) -> StyleGAN2:
    """A recipe whose noise counts and whose minibatch statistics span two groups, with classes and style mixing."""
    more = {"checkpoint_activations": checkpoint_activations, "loss.mixing": 1.0, "discriminator.mbstd_group": 2}
    r = recipe(3, **more | given)
    for name, parameter in r.G.named_parameters():
        if name.endswith("noise.strength"):
            torch.nn.init.constant_(parameter, 0.3)
    return r


def gradients(r: StyleGAN2, name: str) -> dict[str, torch.Tensor]:
    """Of two rounds, whose noise differs."""
    phase = next(p for p in r.phases if p.name == name)
    rounds = [r.losses(phase, reals(r), draws(name, batch=8, start=i, stop=i + 4)) for i in (0, 4)]
    phase.differentiate(rounds, 2)
    return {name: p.grad for name, p in phase.network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", PHASES)
def test_gradients_are_the_same_to_the_last_bit(name, precision):
    """Second derivatives included, with noise: what is computed again sees the same noise."""
    kept, again = (gradients(noisy(on, precision=precision), name) for on in (False, True))
    assert kept.keys() == again.keys() and len(kept) > 20
    assert all(torch.equal(kept[key], again[key]) for key in kept)


def test_noise_counts_in_the_comparison():
    loud, silent = (gradients(noisy(True, **{"loss.noise": noise}), "Gmain") for noise in ("random", "none"))
    assert not torch.equal(loud["synthesis.const"], silent["synthesis.const"])


@pytest.mark.parametrize("name", PHASES)
def test_every_block_is_computed_again(name, monkeypatch):
    calls: list[str] = []
    for kind in (GeneratorBlock, DiscriminatorBlock):
        honest = kind.forward

        def forward(self, *inputs, honest=honest, kind=kind):
            calls.append(kind.__name__)
            return honest(self, *inputs)

        monkeypatch.setattr(kind, "forward", forward)
    r, plain = noisy(True), noisy(False)
    gradients(r, name)
    again, calls[:] = list(calls), []
    gradients(plain, name)
    network = {"G": "GeneratorBlock", "D": "DiscriminatorBlock"}[name[0]]
    assert again.count(network) >= 2 * calls.count(network) > 0


def test_a_run_is_the_same_to_the_last_bit(tmp_path):
    runs = [train(tmp_path / str(on), pace__kimg=0.036, pace__batch_gpu=2, checkpoint_activations=on) for on in (0, 1)]
    (a, about_a), (b, about_b) = (checkpoint.load(folder / "state.safetensors") for folder in runs)
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert (about_a["training"]["checkpoint_activations"], about_b["training"]["checkpoint_activations"]) == (0, 1)


def test_a_step_takes_less_memory():
    data = {"height": 32, "width": 32, "channels": 3, "classes": 0}
    small = {"precision": "bf16", "pace.batch": 16, "generator.channel_base": 1024, "discriminator.channel_base": 1024}
    kept, again = (
        footprint(resolve("auto", data, small | {"checkpoint_activations": on}, 1), 16, torch.device("cpu"))
        for on in (False, True)
    )
    assert again["Gmain"] < 0.9 * kept["Gmain"] and again["most"] < kept["most"]
