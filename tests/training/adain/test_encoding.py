"""An encoder of style learns without labels: what its losses measure, and how it begins."""

import math

import pytest
import torch

from imaging.dataset import DataConfig, open_dataset
from models.adain.config import StyleConfig
from models.adain.network import Encoder
from training import plan as plans
from training.adain.encoding import SPREAD, StyleEncoder, StyleEncoderRun, begin, contrast_of
from training.course import Facts
from training.recipe import Pictures

TINY = {
    "model": "style-encoder",
    "device": "cpu",
    "precision": "fp32",
    "data.path": "textures:16",
    "data.max_images": 12,
    "style.widths": (6, 8),
    "style.depths": (1, 1),
    "pace.batch": 4,
    "pace.kimg": 0.1,
}


SEED = 0  # of the initial weights; with some seeds so small a network is stuck


@pytest.fixture
def recipe(tmp_path) -> StyleEncoder:
    plan = plans.begin(TINY, tmp_path)
    assert isinstance(plan.config, StyleEncoderRun)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        return StyleEncoder(plan.config, Facts(torch.ones(0), plan.sets), plan.device)


def test_what_is_alike_is_recognized():
    random = torch.Generator().manual_seed(0)
    first = torch.randn(8, 5, 6, 6, generator=random) * torch.rand(8, 5, 1, 1, generator=random)
    other = torch.randn(8, 5, 6, 6, generator=random)
    moved = first.flip(2, 3)  # the same statistics in other places
    loss, right = contrast_of(torch.cat([first, moved, other]), 0.05)
    assert right == 1 and loss < 0.1
    loss, right = contrast_of(torch.cat([first, other, moved]), 0.05)  # what is in disguise is nearer
    assert right == 0 and loss > 3


def test_knowing_nothing_costs_the_logarithm_of_the_choices():
    alike = torch.ones(3 * 8, 5, 6, 6)
    loss, _ = contrast_of(alike, 0.1)
    assert loss == pytest.approx(math.log(16))


def test_features_begin_with_a_mean_near_1():
    pictures = torch.rand(8, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    encoder = Encoder(StyleConfig(widths=(16, 24), depths=(2, 1)))
    with torch.no_grad():
        encoder[0].weight.copy_(torch.eye(3)[:, :, None, None])  # the convolution of colors stays
        encoder[0].bias.zero_()
        begin(encoder, pictures)
        assert (encoder[0](pictures) == pictures).all()
        x = pictures
        for layer in encoder:
            x = layer(x)
            if layer in (encoder[2], encoder[5], encoder[9]):
                assert x.mean((0, 2, 3)).abs().max() < 1e-3
                assert (x.var((0, 2, 3)).sqrt() / SPREAD - 1).abs().max() < 1e-3


def test_another_texture_wears_the_colors_of_the_first(recipe):
    dataset = open_dataset(DataConfig(path="textures:64"))
    pixels = torch.stack([torch.from_numpy(dataset.read(i)) for i in range(6)])
    views = recipe.batch(Pictures(pixels, torch.zeros(6)))
    assert all(each.shape == (6, 3, 32, 32) for each in views)
    assert (views.first * 255 == pixels[..., :32, :32]).all() and (views.second * 255 == pixels[..., 32:, 32:]).all()
    far = (views.disguised.mean((2, 3)) - views.first.mean((2, 3))).abs()
    assert far.max() < 0.1 and far.mean() < 0.01  # clamped colors move it a little
    plain = pixels[..., :32, 32:].roll(-1, 0).float() / 255
    assert (plain.mean((2, 3)) - views.first.mean((2, 3))).abs().mean() > 0.1


def test_contrast_and_reconstruction_fall(recipe):
    pixels = torch.stack([torch.from_numpy(recipe.facts.sets["data"].read(i)) for i in range(4)])
    batch = recipe.batch(Pictures(pixels, torch.zeros(4)))
    (phase,) = recipe.phases
    recipe.network.requires_grad_(True)
    seen = []
    for _ in range(50):
        ((loss, reports),) = recipe.losses(phase, batch, None)
        seen.append({name: float(value.detach()) for name, value in reports.items()})
        phase.optimizer.zero_grad()
        loss.backward()
        phase.optimizer.step()
    for name in ("loss/contrast", "loss/picture"):
        assert seen[-1][name] < 0.8 * seen[0][name], name


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"pace.batch": 1}, "contrasts pictures"), ({"data.path": "textures:1"}, "of 2 pixels or more")],
)
def test_refusals(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        plans.begin(TINY | changed, tmp_path)
