"""Style transfer learns from pieces of pictures of any sizes, and only its decoder learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imaging.dataset import CropConfig, CropSet, open_dataset
from models.adain.network import AdaIN
from models.families import read_network, save_network
from tests.parity.recorded import error
from torch_utils import runs
from training import plan as plans
from training import session
from training.adain.recipe import load_encoder

TINY = {
    "model": "adain",
    "preset": "demo",
    "device": "cpu",
    "precision": "fp32",
    "data.path": "demo:16",
    "data.max_images": 40,
    "styles.path": "demo:24",
    "styles.max_images": 12,
    "style.widths": (6, 8),
    "style.depths": (1, 1),
    "pace.batch": 4,
    "pace.tick": 0.08,
    "pace.snap": 2,
    "optimizer.lr": 0.01,
}


@pytest.fixture
def paintings(tmp_path) -> Path:
    """Twenty pictures of different sizes and modes; the pixel of a place tells the place."""
    folder = tmp_path / "paintings"
    folder.mkdir()
    for i in range(20):
        width, height = 40 + 3 * i, 70 - 2 * i
        ramp = np.zeros((height, width, 3), np.uint8)
        ramp[..., 0], ramp[..., 1] = np.arange(width) * 255 // width, np.arange(height)[:, None] * 255 // height
        ramp[..., 2] = 10 * i
        Image.fromarray(ramp).convert("RGBA" if i % 2 else "RGB").save(folder / f"{i:02d}.png")
    return folder


def crops(path: Path, **more) -> CropSet:
    found = open_dataset(CropConfig(path=str(path), resize=24, crop=16, held_out=4, **more))
    assert isinstance(found, CropSet)
    return found


def test_pieces_are_new_every_time_and_the_same_again(paintings):
    dataset = crops(paintings)
    assert (dataset.height, dataset.width, dataset.channels, len(dataset)) == (16, 16, 3, 16)
    seen = {}
    for position in range(48):
        index = dataset.index_at(0, position)
        pixels, label = dataset[index]
        assert pixels.shape == (3, 16, 16) and pixels.dtype == np.uint8 and label == 0
        seen.setdefault(index % 16, []).append(pixels)
    assert len(seen) == 16 and all(len(each) == 3 for each in seen.values())  # an epoch shows every picture once
    assert sum(not np.array_equal(a, b) for a, b, _ in seen.values()) > 12
    again = crops(paintings)
    assert all(np.array_equal(again[i][0], dataset[i][0]) for i in (3, 19, 40))


def test_pieces_come_from_the_whole_picture(paintings):
    dataset = crops(paintings)
    firsts = np.array([dataset[16 * time + 15][0][:2, 0, 0] for time in range(40)])  # of one picture, wider than high
    assert np.ptp(firsts[:, 0]) > 60 and np.ptp(firsts[:, 1]) > 60


def test_held_out_pictures_are_no_items(paintings):
    dataset = crops(paintings)
    blues = {int(np.median(dataset[i][0][2])) for i in range(len(dataset))}
    held = {int(np.median(dataset.held_out(i)[2])) for i in range(4)}
    assert held == {160, 170, 180, 190} and not held & blues


def test_mirrored_pieces(paintings):
    assert len(crops(paintings, mirror=True)) == 32


def test_too_few_or_too_small_is_a_sentence(paintings):
    with pytest.raises(ValueError, match=r"has 20 images, of which 20 are held out: give more images"):
        open_dataset(CropConfig(path=str(paintings), held_out=20))
    with pytest.raises(ValueError, match=r"pieces of 64 pixels do not fit into a shorter side of 32"):
        CropConfig(resize=32, crop=64)


def trained(outdir: Path, **more) -> Path:
    settings = TINY | {name.replace("__", "."): value for name, value in more.items()}
    folder = session.train(plans.begin(settings, outdir))
    assert folder is not None
    return folder


def test_the_decoder_learns_and_the_encoder_stays(tmp_path, paintings):
    torch.manual_seed(1)
    own = AdaIN(plans.begin({**TINY, "pace.kimg": 0.1}, tmp_path / "x").config.style)
    save_network(tmp_path / "own.safetensors", "adain", {"adain": own}, {})
    run = trained(
        tmp_path / "runs",
        pace__kimg=0.8,
        encoder=str(tmp_path / "own.safetensors"),
        styles__path=str(paintings),
        styles__resize=24,
        styles__crop=16,
        styles__held_out=8,
        styles__max_images=0,
    )
    file = read_network(runs.newest_in(run) or run)
    found = file.part("adain")
    for name, tensor in own.encoder.state_dict().items():
        assert found.encoder.state_dict()[name].equal(tensor)
    assert error(found.decoder.state_dict()["1.weight"], own.decoder.state_dict()["1.weight"]) > 0.01
    records = [line for line in (run / "stats.jsonl").read_text().splitlines() if "loss/style" in line]
    import json

    first, last = (json.loads(records[i]) for i in (0, -1))
    assert last["loss/style"]["mean"] < 0.6 * first["loss/style"]["mean"]
    assert any("held out/style" in line for line in (run / "stats.jsonl").read_text().splitlines())
    sheet = Image.open(next(iter(sorted(run.glob("fakes-*.png"), reverse=True))))
    assert np.asarray(sheet).std() > 5


def test_an_encoder_of_other_sizes_is_refused(tmp_path):
    net = AdaIN(plans.begin(TINY, tmp_path / "x").config.style)
    other = AdaIN(net.config.model_copy(update={"widths": (5, 8)}))
    save_network(tmp_path / "other.safetensors", "adain", {"adain": other}, {})
    with pytest.raises(ValueError, match=r"it lacks 0.weight|it lacks 2.weight of the shape \[6, 3, 3, 3\]"):
        load_encoder(net, str(tmp_path / "other.safetensors"))
    with pytest.raises(FileNotFoundError):
        load_encoder(net, str(tmp_path / "gone.safetensors"))
    torch.save(net.encoder.state_dict(), tmp_path / "encoder.pth")
    fresh = AdaIN(net.config)
    load_encoder(fresh, str(tmp_path / "encoder.pth"))
    assert all(fresh.encoder.state_dict()[k].equal(v) for k, v in net.encoder.state_dict().items())
