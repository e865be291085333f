"""The bundled network of style transfer: small, and it does what it is for, on pictures that it has not seen."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor

import stylize
from imaging.drawnset import DrawnSet
from models.adain.encoderfiles import BUNDLED
from models.adain.network import AdaIN, style_loss
from models.families import load_network, read_network

SIDE, COUNT = 128, 6


@pytest.fixture(scope="module")
def network() -> AdaIN:
    return load_network(BUNDLED)


def unseen(kind: str) -> Tensor:
    dataset = DrawnSet(kind, SIDE, SIDE, count=10**6)
    return torch.stack([torch.from_numpy(dataset.held_out(i)) for i in range(COUNT)]).float() / 255


@torch.no_grad()
def distance(network: AdaIN, pictures: Tensor, styles: Tensor) -> float:
    """The style loss over all features."""
    pairs = zip(network.encoder.features(pictures), network.encoder.features(styles), strict=True)
    return sum(float(style_loss(ours, theirs)) for ours, theirs in pairs)


def test_it_is_small_and_in_half_precision():
    assert BUNDLED.stat().st_size <= 3 * 2**20
    file = read_network(BUNDLED)
    assert file.family.name == "adain" and {t.dtype for t in file.tensors.values()} == {torch.float16}


def test_its_features_have_a_mean_near_1(network):
    with torch.no_grad():
        features = network.encoder.features(unseen("scenes"))
    means = torch.cat([layer.mean((0, 2, 3)) for layer in features])
    assert means.median() == pytest.approx(1, abs=0.4) and means.min() > 0.1


@torch.no_grad()
def test_pictures_take_the_statistics_of_a_style(network):
    contents, styles = unseen("scenes"), unseen("textures")
    made = network(contents, styles).clamp(0, 1)
    assert distance(network, made, styles) < distance(network, contents, styles) / 4


@torch.no_grad()
def test_the_content_stays(network):
    contents, styles = unseen("scenes"), unseen("textures")
    plain, made = network(contents, contents, alpha=0.0), network(contents, styles)
    assert correlations(plain, contents).diagonal().min() > 0.65
    assert (correlations(made, contents).argmax(1) == np.arange(COUNT)).all()


def correlations(pictures: Tensor, others: Tensor) -> np.ndarray:
    """Of the brightness of blocks of 4 x 4 pixels, [pictures, others]."""
    blocks = torch.nn.functional.avg_pool2d(torch.cat([pictures, others]).mean(1, keepdim=True), 4)
    return np.corrcoef(blocks.flatten(1).numpy())[: len(pictures), len(pictures) :]


def test_stylize_takes_it_without_an_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # there are no runs
    for name, kind in (("photo", "scenes"), ("painting", "textures")):
        pixels = DrawnSet(kind, 60, 70).read(0)
        Image.fromarray(pixels.transpose(1, 2, 0)).save(tmp_path / f"{name}.png")
    result = CliRunner().invoke(stylize.main, ["--content", "photo.png", "--style", "painting.png"])
    assert result.exit_code == 0, (result.output, result.exception)
    with Image.open(tmp_path / "out" / "photo-painting.png") as image:
        assert image.size == (70, 60)
