"""Nothing asks a device for float64 that has none: everything runs on one that refuses it, and comes to the same.

`test_devices.py` runs these in a process of their own, since PyTorch takes a new device before its first backward pass.
"""

import dataclasses

import pytest
import torch

from metrics.catalog import parse
from metrics.suite import RealStatistics, Suite
from models.paths import slerp, spline, through
from models.perceptual.embeddings import pyramid_vectors
from models.stylegan2.centers import Anchors
from models.stylegan2.choices import StyleOptions
from models.stylegan2.generator import Generator
from models.stylegan2.projector import ProjectionSettings, Tuning, TuningSettings
from models.stylegan2.sampler import StyleSampler
from sampling.stylegan2.projection import Projected, Search
from system import resources
from tests.devices import Single, single_precision
from tests.metrics.judging import CPU, EYES, Faces, samples
from tests.networks import tiny_generator
from tests.training.stylegan2.test_recipe import draws, recipe
from torch_utils.stats import Collector
from training.recipe import Pictures
from training.stylegan2.recipe import StyleGAN2

METRICS = ("fid90_full", "kid90", "is60", "swd40", "pr1k3", "ppl2_wend1k")


@pytest.fixture(name="device")
def without_float64(monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "FOLDER", str(tmp_path / "cache"))
    with single_precision(monkeypatch) as device:
        yield device


def test_the_device_refuses_float64(device):
    there = torch.randn(3, device=device)
    assert isinstance(there, Single) and there.device.type == (there * 2).device.type == "single"
    for ask in (there.double, lambda: torch.zeros(3, dtype=torch.float64, device=device)):
        with pytest.raises(TypeError, match="doesn't support float64"):
            ask()
    assert torch.zeros(3, dtype=torch.float64).to(there).dtype == torch.float32


def test_metrics(device, tmp_path):
    """Every kind, and the value between halves of the data."""
    counts = {"pr": 90, "ppl": 12}
    metrics = [dataclasses.replace(m, samples=counts.get(m.kind, m.samples)) for m in map(parse, METRICS)]
    found = []
    for place in (CPU, device):
        resources.FOLDER = str(tmp_path / place.type)
        source = samples()
        source.sampler.G = source.sampler.G.to(place)
        suite = Suite(metrics, EYES, RealStatistics(Faces(), place, 32))
        found.append(suite.evaluate(source) | suite.between_halves(source))
    assert len(found[0]) == 9 - 1 and found[1] == pytest.approx(found[0], rel=1e-5)


def test_pictures_and_films(device):
    G = tiny_generator(classes=2)
    options = StyleOptions(psi=0.7, noise_mode="random")
    sampler = StyleSampler(G, options)
    expected = list(sampler.sample(sampler.requests([0, 1])))
    sampler = StyleSampler(G.to(device).fold(), options)
    keys = sampler.ws(sampler.requests([0, 1]))
    assert isinstance(keys, Single)
    made = list(sampler.pictures(keys, sampler.requests([0, 1])))
    assert all(torch.equal(a.cpu(), b) for a, b in zip(made, expected, strict=True))
    for path in (through(keys), through(keys, slerp), spline(keys, loop=True)):
        assert isinstance(path(0.3), Single) and path(0.3).isfinite().all()
    assert isinstance(Anchors(G, 3).of(keys, [0, 1]), Single)


@pytest.mark.parametrize("space", ["w", "w+"])
def test_projection_and_pivotal_tuning(device, space):
    G, embed = tiny_generator(classes=2).to(device), pyramid_vectors
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    targets = (pixels.float() / 127.5 - 1).to(device)
    run = Search(G, targets, embed, ProjectionSettings(space, steps=3), 2, None)
    assert len(list(run)) == 3
    latents = run.latents
    tuning = Tuning(G, *latents, targets, embed, TuningSettings(steps=2, locality=0.1), run.scale)
    assert tuning.step().shape == (2,) and tuning.step().isfinite().all()
    tuned = tuning.finish().fold()
    assert isinstance(tuned, Generator)
    sampler = StyleSampler(tuned)
    made = Projected("tuned", tuning.losses, sampler.sample(sampler.fitted(latents)), pixels)
    assert made.psnr.isfinite().all()


@pytest.mark.parametrize("name", ["Gmain", "Gpath", "Dmain", "Dr1"])
def test_a_training_step(device, name):
    """Augmented, with classes, and with what it reports."""
    r = recipe(2, **{"augment.mode": "fixed", "augment.p": 0.5, "augment.pipe": "bgcfnc"})
    moved = StyleGAN2(r.config, torch.ones(2), device)
    phase = next(p for p in moved.phases if p.name == name)
    pixels = torch.zeros(4, 3, 16, 16, dtype=torch.uint8).to(device)
    labels = torch.zeros(4, dtype=torch.int64).to(device)
    collector = Collector(device)
    batch = moved.batch(Pictures(pixels, labels))
    phase.step([moved.losses(phase, batch, dataclasses.replace(draws(name), device=device))], 1, collector)
    moved.after_step(seen=0)
    assert phase.skipped() == 0 and collector.read()
