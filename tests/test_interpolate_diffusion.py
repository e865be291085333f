"""interpolate.py with denoising networks: great circles of the first noise."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import generate
import interpolate
from models.diffusion.choices import DenoisingOptions
from models.diffusion.sampler import DenoisingSampler
from models.families import load_network
from models.sampler import Sampler, Straight, Walkable
from tests.networks import ON_CPU, save_noisy

NAMES = ("cat", "dog", "cow")


@pytest.fixture(autouse=True)
def network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return save_noisy(Path("dit.safetensors"), classes=3, class_names=NAMES)


def run(*words, script=interpolate):
    return CliRunner().invoke(script.main, ["--network", "dit.safetensors", *map(str, words), *ON_CPU])


def frames(*words):
    result = run("--format", "frames", "--steps", "3", *words)
    assert result.exit_code == 0, (result.output, result.exception)
    return [path.read_bytes() for path in sorted(Path("out/interpolation").iterdir())], result.output


def pictures(*words):
    assert run("--steps", "3", "--outdir", "pictures", *words, script=generate).exit_code == 0
    return [path.read_bytes() for path in sorted(Path("pictures").glob("*.png"))]


@pytest.mark.parametrize("words", [(), ("--class", "cow"), ("--solver", "heun", "--cfg-scale", "2")])
def test_the_frame_at_a_key_is_the_picture_of_its_seed(words):
    made, said = frames("--seeds", "3-5", "--frames", "2", *words)
    assert made[::2] == pictures("--seeds", "3-5", *words) and len({*made}) == 6
    assert ("the class changes at once" in said) == ("--class" not in words)


def test_frames_between_are_of_noise_on_the_great_circle():
    frames("--seeds", "0,1", "--frames", "2", "--no-loop", "--class", "dog")
    sampler = DenoisingSampler(load_network("dit.safetensors"), DenoisingOptions(steps=3))
    requests = sampler.requests([0, 1], 1)
    a, b = sampler.latents(requests).double()
    angle = torch.acos(a @ b / (a.norm() * b.norm()))
    half = (a / a.norm() + b / b.norm()) / (2 * torch.cos(angle / 2)) * (a.norm() + b.norm()) / 2
    (wanted,) = sampler.pictures([half.float()], requests[:1])
    shown = np.asarray(Image.open("out/interpolation/frame000001.png")).astype(int)
    assert np.abs(shown - wanted.permute(1, 2, 0).numpy()).max() <= 1


def test_the_class_changes_halfway():
    dogs, _ = frames("--seeds", "1,2", "--frames", "4", "--no-loop", "--class", "dog")
    made, _ = frames("--seeds", "1,2", "--frames", "4", "--no-loop")
    assert [a == b for a, b in zip(dogs, made, strict=True)] == [True, True, False, False, False]


def test_grids_and_records():
    made, _ = frames("--grid", "2x1", "--frames", "1", "--scale", "2")
    assert len(made) == 8
    record = json.loads(Path("out/interpolate.json").read_text())["options"]
    assert (record["seeds"], record["space"], record["path"], record["steps"]) == ("0-15", "z", "spherical", 3)
    assert Image.open("out/interpolation/frame000000.png").size == (64, 32)


WHY = "does not apply to DiT, whose films follow great circles of the first noise: leave it out"
MISTAKES = [
    (("--solver", "ddpm"), "--solver ddpm draws noise in every step: films need ddim, euler, heun or dpm2m"),
    (("--solver", "ddim", "--eta", "0.5"), "--eta 0.5 draws noise in every step, which films do without: leave it out"),
    (("--space", "w"), f"--space {WHY}"),
    (("--path", "linear"), f"--path {WHY}"),
    (("--latents", "a.npz"), f"--latents {WHY}"),
    (("--psi", "0.7"), "--psi does not apply to dit.safetensors (DiT), only to StyleGAN2"),
    (("--noise-mode", "none"), "--noise-mode does not apply to dit.safetensors (DiT), only to StyleGAN2"),
    (("--seeds", "3"), "--seeds gives one key frame for each film, but a film needs at least 2"),
]


@pytest.mark.parametrize(("words", "sentence"), MISTAKES)
def test_mistakes_are_answered_in_one_sentence(words, sentence):
    result = run(*words)
    assert result.exit_code == 2 and not Path("out").exists()
    assert sentence in result.output.split("Error: ")[1]


def test_a_network_without_latents_is_refused():
    save_noisy(Path("dit.safetensors"), "classifier", classes=3)
    assert "which makes no pictures of seeds" in run().output


def test_a_denoiser_is_walkable_but_has_no_straight_paths():
    sampler = DenoisingSampler(load_network("dit.safetensors"))
    assert isinstance(sampler, Sampler) and isinstance(sampler, Walkable) and not isinstance(sampler, Straight)
