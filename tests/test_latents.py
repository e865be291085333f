"""Latent diffusion: pictures become latents, a network learns from them, and its latents become pictures."""

import json
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import dataset_tool
import evaluate
import generate
import interpolate
import train
from imaging.dataset import DataConfig, open_dataset
from imaging.latentset import LatentSet
from imaging.pixels import to_images, to_pixels
from models.diffusion.choices import DenoisingOptions
from models.diffusion.codec import open_codec
from models.diffusion.sampler import DenoisingSampler
from models.dit.config import DiTConfig
from models.dit.network import DiT
from models.families import read_network
from tests.imaging.pictures import picture, write_folder
from tests.training.runs import stopped_at
from tests.training.test_resume import assert_equal_runs
from torch_utils import runs

diffusers = pytest.importorskip("diffusers")
CPU = torch.device("cpu")
TINY = [
    *("--model", "dit-ti/4", "--preset", "demo", "--device", "cpu", "--precision", "fp32", "--batch", "4"),
    *("--tick", "0.02", "--snap", "3", "--set", "pace.sheet=16", "--set", "sampling.steps=2"),
    *("--set", "denoiser.hidden=16", "--set", "denoiser.depth=1", "--set", "denoiser.heads=2"),
]


def autoencoder(folder, channels=4, **more):
    """The folder of a small codec of random weights that halves pictures once."""
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    sizes = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "latent_channels": channels}
    diffusers.AutoencoderKL(**{**blocks, **sizes, "scaling_factor": 0.5, **more}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    return autoencoder(tmp_path_factory.mktemp("codec"), shift_factor=0.25)


@pytest.fixture(scope="module")
def latents(codec, tmp_path_factory):
    dest = tmp_path_factory.mktemp("latents") / "faces.zip"
    result = encode("demo:16", codec, dest, "--max-images", "40", "--mirror", "--dtype", "float32")
    assert "wrote latents of 40 pictures" in result.output and "4 channels of 8x8" in result.output
    return dest


def invoke(program, *arguments):
    return CliRunner().invoke(program.main, [str(each) for each in arguments])


def encode(source, codec, dest, *more):
    given = ["--source", source, "--codec", codec, "--dest", dest, "--device", "cpu"]
    return invoke(dataset_tool, "encode", *given, *more)


def refusal(result):
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit), (result.output, result.exception)
    assert "Traceback" not in result.output
    return result.output.strip().splitlines()[-1]


def trained(outdir, latents, *more, stop=None):
    with stopped_at(stop):
        result = invoke(train, "--data", latents, "--outdir", outdir, "--kimg", "0.1", *TINY, *more)
    assert result.exit_code == 0, (result.output, result.exception)
    return next(outdir.glob("0*")), result.output


def test_a_set_of_latents_holds_what_the_autoencoder_finds(codec, latents):
    network = diffusers.AutoencoderKL.from_pretrained(codec)
    faces = open_dataset(DataConfig(path="demo:16", max_images=40))
    found = open_dataset(DataConfig(path=str(latents), mirror=True))
    assert isinstance(found, LatentSet) and len(found) == 80
    assert (found.channels, found.height, found.width, found.latent.scale) == (4, 8, 8, 0.5)
    assert found.class_names == faces.class_names and [found.label(i) for i in range(40)] == faces.labels.tolist()
    for index, flipped in ((3, False), (43, True)):
        image = to_images(torch.from_numpy(faces.read(3)))[None]
        posterior = network.encode(image.flip(-1) if flipped else image).latent_dist
        mean, deviation = torch.from_numpy(np.array(found[index][0]))
        torch.testing.assert_close(mean, posterior.mean[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(deviation, posterior.std[0], atol=1e-5, rtol=1e-5)
    found.decoder = open_codec(str(codec), CPU)
    image = to_images(torch.from_numpy(faces.read(3)))[None]
    decoded = to_pixels(network.decode(network.encode(image).latent_dist.mean).sample)
    assert found.size == (16, 16)
    assert np.abs(found.picture(3).astype(int) - decoded[0].numpy().astype(int)).max() <= 1


def test_training_draws_new_latents_each_time(codec, latents, tmp_path):
    from training import plan as plans
    from training import session
    from training.recipe import Draws, Pictures

    values = {"data.path": str(latents), "model": "dit-ti/4", "preset": "demo", "device": "cpu", "precision": "fp32"}
    plan = plans.begin(values | {"denoiser.hidden": 16, "denoiser.depth": 1, "denoiser.heads": 2}, tmp_path)
    recipe = session.build_recipe(plan)
    moments = torch.stack([torch.full((4, 8, 8), 2.0), torch.full((4, 8, 8), 3.0)]).expand(64, 2, 4, 8, 8)
    batch = recipe.batch(Pictures(moments, torch.zeros(64, dtype=torch.int64)))
    draws = [Draws(0, iteration, "denoise", 64, 0, 64, CPU) for iteration in (0, 0, 1)]
    first, same, other = (recipe.drawn(batch.images, each) for each in draws)
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert abs(float(first.mean()) - (2 - 0.25) * 0.5) < 0.05 and abs(float(first.std()) - 3 * 0.5) < 0.05
    half = recipe.drawn(batch.images[32:], Draws(0, 0, "denoise", 64, 32, 64, CPU))
    assert torch.equal(half, first[32:])


def test_a_run_of_latents_resumes_exactly_and_its_network_makes_pictures(codec, latents, tmp_path):
    whole, said = trained(tmp_path / "whole", latents, "--mirror")
    assert "latents of 16x16 pictures" in said
    cut, _ = trained(tmp_path / "cut", latents, "--mirror", stop=13)
    assert invoke(train, "--resume", cut, "--outdir", tmp_path / "cut").exit_code == 0
    assert_equal_runs(cut, whole)
    network = runs.newest_in(whole)
    denoiser = read_network(network).metadata["denoiser"]
    assert denoiser["channels"] == 4 and denoiser["latent"] == {
        "height": 16,
        "width": 16,
        "channels": 3,
        "scale": 0.5,
        "shift": 0.25,
    }
    with Image.open(runs.samples_path(whole, 100)) as sheet:  # in false colors
        assert sheet.size == (16 * 8, 8)

    make = ["--network", network, "--seeds", "0-1", "--steps", "2", "--device", "cpu", "--outdir", tmp_path / "out"]
    assert refusal(invoke(generate, *make)) == (
        "Error: the network makes latents: give --codec, the folder of the AutoencoderKL that encoded them"
    )
    film = ["--codec", codec, "--frames", "2", "--format", "frames"]
    assert invoke(interpolate, *make, *film).exit_code == 0
    frames = sorted((tmp_path / "out").rglob("*.png"))
    with Image.open(frames[0]) as frame:
        assert len(frames) == 4 and frame.size == (16, 16)
    assert invoke(generate, *make, "--codec", codec, "--grid").exit_code == 0
    with Image.open(tmp_path / "out" / "seed0001.png") as image:
        assert image.size == (16, 16) and image.mode == "RGB"


def test_with_the_codec_a_run_shows_and_judges_pictures(codec, latents, tmp_path):
    run, _ = trained(tmp_path, latents, "--codec", codec, "--metrics", "swd20", "--batch-gpu", "auto", "--workers", "1")
    with Image.open(runs.samples_path(run, 100)) as sheet:
        assert sheet.size == (16 * 16, 16)
    judged = ["--network", run, "--metrics", "swd20", "--steps", "2", "--device", "cpu"]
    result = invoke(evaluate, *judged, "--codec", codec, "--json")
    in_loop = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])["results"]
    afterwards = json.loads(result.stdout.splitlines()[-1])["results"]
    assert in_loop == pytest.approx(afterwards, rel=1e-3)  # batches of another size round otherwise


@pytest.mark.parametrize("more", [["--metrics", "swd20"], ["--model", "stylegan2"], ["--codec", "nowhere"]])
def test_training_refuses_what_latents_cannot_do(latents, tmp_path, more):
    said = refusal(
        invoke(train, "--data", latents, "--outdir", tmp_path, *(TINY if more[0] != "--model" else []), *more)
    )
    assert {
        "--metrics": "--metrics swd20 looks at pictures: give --codec, or --metrics none",
        "--model": "holds latents, and --model stylegan2 learns from pictures",
        "--codec": "has no config.json: give the folder of an AutoencoderKL",
    }[more[0]] in said
    assert not any(tmp_path.iterdir())


def test_codecs_that_do_not_fit_are_refused(codec, latents, tmp_path):
    small = write_folder(tmp_path / "odd", {f"{i}.png": picture(15, 15, seed=i) for i in range(2)})
    gray = write_folder(tmp_path / "gray", {"a.png": picture(16, 16).convert("L")})
    dest, other = tmp_path / "x.zip", autoencoder(tmp_path / "other", channels=3)
    assert "multiples of 2 pixels, and these have 15x15: make them 16x16" in refusal(encode(small, codec, dest))
    assert "encodes 3 channels, but the pictures have 1" in refusal(encode(gray, codec, dest))
    assert "holds latents already: give pictures" in refusal(encode(latents, codec, dest))
    assert "has no config.json" in refusal(encode("demo:16", tmp_path / "nowhere", dest))
    assert "give a name in .zip" in refusal(encode("demo:16", codec, tmp_path / "folder"))
    assert "has latents of 3 channels, and the network's have 4" in refusal(
        invoke(train, "--data", latents, "--outdir", tmp_path / "runs", *TINY, "--codec", other)
    )
    assert "applies to latents, and the data are pictures" in refusal(
        invoke(train, "--data", "demo:16", "--outdir", tmp_path / "runs", *TINY, "--codec", codec)
    )
    assert not dest.exists() and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("damage", ["another class", "cut weights", "lacking weights", "only a pickle", "not JSON"])
def test_folders_that_are_no_codec_are_refused(codec, tmp_path, damage):
    broken = Path(shutil.copytree(codec, tmp_path / "broken"))
    config, weights = broken / "config.json", broken / "diffusion_pytorch_model.safetensors"
    if damage == "another class":
        config.write_text(config.read_text().replace("AutoencoderKL", "UNet2DModel"))
    elif damage == "not JSON":
        config.write_text("{")
    elif damage == "cut weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "lacking weights":
        config.write_text(config.read_text().replace('"layers_per_block": 1', '"layers_per_block": 2'))
    else:
        weights.rename(broken / "diffusion_pytorch_model.bin")
    said = refusal(encode("demo:16", broken, tmp_path / "x.zip"))
    assert said.startswith(f"Error: --codec {broken} ") and "give the folder of an AutoencoderKL" in said


def test_without_diffusers_the_package_is_named(codec, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert refusal(encode("demo:16", codec, tmp_path / "x.zip")).endswith(
        "needs the package diffusers: pip install diffusers"
    )


def rewritten(latents, dest, change):
    """A copy of a set whose files `change(name, bytes)` replaces."""
    with zipfile.ZipFile(latents) as source, zipfile.ZipFile(dest, "w") as copy:
        for name in source.namelist():
            copy.writestr(name, change(name, source.read(name)))
    return dest


def npy(array, tmp_path):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    return (tmp_path / "x.npy").read_bytes()


DAMAGED = {
    "objects": np.array([object], dtype=object),
    "doubles": np.zeros((1, 2, 4, 8, 8)),
    "vectors": np.zeros((1, 2, 4), np.float32),
    "nan": np.full((2, 2, 4, 8, 8), np.nan, np.float32),
    "negative": np.full((2, 2, 4, 8, 8), -1, np.float32),
}


@pytest.mark.parametrize("damage", [*DAMAGED, "cut", "noise", "huge"])
def test_damaged_latents_are_refused(latents, tmp_path, damage):
    def change(name, data):
        if not name.endswith("00000000.npy"):
            return data
        if damage in DAMAGED:
            return npy(DAMAGED[damage], tmp_path)
        if damage == "huge":
            return data.replace(b"(2, 2, 4, 8, 8), }          ", b"(2, 2, 4, 99999999, 88888), }")[: len(data)]
        return data[:-4] if damage == "cut" else b"?" * len(data)

    broken = rewritten(latents, tmp_path / "broken.zip", change)
    said = refusal(invoke(train, "--data", broken, "--outdir", tmp_path / "runs", *TINY))
    assert said.startswith(f"Error: 00000/img00000000.npy in {broken} is not a latent (")
    assert said.endswith("encode the pictures again with dataset_tool.py encode")


def test_damage_in_the_middle_is_found_when_it_is_read(latents, tmp_path):
    broken = rewritten(
        latents, tmp_path / "a.zip", lambda name, data: b"?" * len(data) if name.endswith("07.npy") else data
    )
    found = open_dataset(DataConfig(path=str(broken)))
    with pytest.raises(ValueError, match=r"img00000007.npy in .* is not a latent"):
        found.read(7)
    short = rewritten(latents, tmp_path / "b.zip", lambda name, data: data[:-1] if name.endswith("07.npy") else data)
    with pytest.raises(ValueError, match=r"img00000007.npy in .* has another size than"):
        open_dataset(DataConfig(path=str(short)))


def test_inspect_tells_what_latents_are_and_which_are_damaged(latents, tmp_path):
    said = invoke(dataset_tool, "inspect", latents)
    assert said.exit_code == 0, said.output
    for line in (
        "latents of 40 pictures",
        "4 channels of 8x8",
        "latents of 16x16 pictures",
        "  8  sad",
        "broken: none",
    ):
        assert line in said.output, line
    broken = rewritten(
        latents, tmp_path / "a.zip", lambda name, data: b"?" * len(data) if name.endswith("07.npy") else data
    )
    said = invoke(dataset_tool, "inspect", broken)
    assert "broken: 1" in said.output and "img00000007.npy" in said.output
    assert "holds latents: leave --sheet out" in refusal(invoke(dataset_tool, "inspect", latents, "--sheet", "a.png"))


@pytest.mark.parametrize("latent", [None, {}, {"height": 16, "width": 16, "channels": 3, "scale": -1}])
def test_a_set_must_say_what_its_latents_stand_for(latents, tmp_path, latent):
    def change(name, data):
        return json.dumps(json.loads(data) | {"latent": latent}).encode() if name == "dataset.json" else data

    broken = rewritten(latents, tmp_path / "broken.zip", change)
    with pytest.raises(ValueError, match="does not say what its latents stand for"):
        open_dataset(DataConfig(path=str(broken)))


def test_mirror_images_must_have_been_encoded(codec, tmp_path):
    assert encode("demo:16", codec, tmp_path / "x.zip", "--max-images", "3").exit_code == 0
    found = open_dataset(DataConfig(path=str(tmp_path / "x.zip")))
    assert found.read(0).dtype == np.float16
    with pytest.raises(ValueError, match=r"--mirror: .* holds no mirror images"):
        open_dataset(DataConfig(path=str(tmp_path / "x.zip"), mirror=True))


def test_a_network_that_records_no_codec_takes_the_given_ones_scale(codec, tmp_path):
    torch.manual_seed(0)
    network = DiT(DiTConfig(height=8, width=8, channels=4, patch=4, hidden=16, depth=1, heads=2))
    sampler = DenoisingSampler(network, DenoisingOptions(steps=2), codec=open_codec(str(codec), CPU))
    requests = sampler.requests([0])
    *_, latents = sampler.way(sampler.latents(requests), requests)
    expected = diffusers.AutoencoderKL.from_pretrained(codec).decode(latents / 0.5 + 0.25).sample
    torch.testing.assert_close(sampler.render(sampler.latents(requests), requests), expected)
    assert sampler.shape == (16, 16, 3, 0)


def test_the_codec_may_be_given_when_a_run_is_resumed(codec, latents, tmp_path):
    cut, _ = trained(tmp_path, latents, stop=13)
    assert invoke(train, "--resume", cut, "--outdir", tmp_path, "--codec", codec).exit_code == 0
    assert Image.open(runs.samples_path(cut, 100)).size == (16 * 16, 16)
