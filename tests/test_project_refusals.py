"""project.py, and generate.py with its latents, when something is wrong: one sentence, exit code 2, nothing written."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import generate
import project
from imaging import grid
from models.stylegan2.latents import save_ws
from sampling import command
from tests.networks import ON_CPU, save_tiny


@pytest.fixture
def network(tmp_path):
    return save_tiny(tmp_path / "network.safetensors")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A working directory with a picture and latents, without runs, and no bundled network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "BUNDLED", tmp_path / "assets" / "none.safetensors")
    Image.new("RGB", (16, 16)).save("a.png")
    save_ws(Path("w.npz"), torch.zeros(1, 6, 8))


def refusal(*arguments, script=project):
    result = CliRunner().invoke(script.main, [*map(str, arguments), *ON_CPU], catch_exceptions=False)
    assert result.exit_code == 2 and not Path("out").exists(), result.output
    return result.output.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "b.png"], "--target b.png: there is no such picture or folder; check the path"),
        (["--pti-steps", 9], "--pti-steps does not apply without --pti: leave it out"),
        (["--locality", 1], "--locality does not apply without --pti: leave it out"),
        (
            ["--film", "film.avi"],
            "--film out/film.avi: expected a film (.mp4, .gif, .webp), or a folder of frames whose name has no ending",
        ),
        (
            ["--film", "deep/film.gif"],
            "--film deep/film.gif: it is written to --outdir, so give a plain name",
        ),
        (["--film", ".."], "--film ..: it is written to --outdir, so give a plain name"),
        (["--detector", "dinov2=x"], "--detector dinov2: projection looks with vgg16 and lpips alone; leave it out"),
        (
            ["--detector", "vgg16=x", "--loss", "pixels"],
            "--detector does not apply, since --loss is pixels: leave it out",
        ),
        (["--detector", "vgg16=none.pt"], "--detector vgg16=none.pt: there is no such file: check the path"),
        (
            ["--network", "b.safetensors"],
            "there is no file or folder b.safetensors: give a file, a run folder, a URL, hf://USER/NAME, or the name "
            "of a published network",
        ),
        (["--outdir", "a.png"], "--outdir a.png needs a folder, and a.png is a file: choose another path"),
    ],
)
def test_options_that_mean_nothing(network, arguments, words):
    assert refusal("--network", network, "--target", "a.png", *arguments) == f"Error: {words}"


def test_a_folder_of_something_else_in_the_place_of_the_film(network, tmp_path):
    keep = tmp_path / "kept" / "frames" / "a.txt"
    keep.parent.mkdir(parents=True)
    keep.touch()
    told = refusal("--network", network, "--target", "a.png", "--outdir", "kept", "--film", "frames")
    assert told == ("Error: --film kept/frames holds other files than frames (a.txt): choose another path")
    assert [path.name for path in Path("kept").iterdir()] == ["frames"] and keep.exists()


def test_a_class_for_a_network_without_classes(network):
    assert refusal("--network", network, "--target", "a.png", "--class", "1") == (
        f"Error: --class 1 does not apply, because {network} has no classes: leave it out"
    )


def test_no_target(network):
    assert refusal("--network", network) == "Error: Missing option '--target'."


VALUES = ["--steps=0", "--rate=0", "--seed=-1", "--space=z", "--noise-mode=random", "--loss=x", "--pti-steps=0"]


@pytest.mark.parametrize("argument", [*VALUES, "--locality=-1"])
def test_values_that_mean_nothing_name_their_option(network, argument):
    told = refusal("--network", network, "--target", "a.png", argument)
    assert told.startswith("Error: Invalid value for ") and argument.partition("=")[0] in told


def test_more_targets_than_fit_on_a_sheet(network, monkeypatch):
    monkeypatch.setattr(grid, "LARGEST_SHEET", 2 * 2 * 256)
    assert refusal("--network", network, "--target", "a.png,a.png,a.png") == (
        "Error: --target: 6 pictures do not fit on one sheet, which holds 4 of this size"
    )
    assert refusal("--network", network, "--target", "a.png,a.png", "--pti").startswith("Error: --target: 6 pictures")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--latents", "w.npz", "--seeds", "1"], "--latents takes the place of --seeds: give one of them"),
        (["--latents", "none.npz"], "there is no file none.npz: give a projected-w.npz that project.py wrote"),
        (
            ["--projected_w", "a.png"],
            "a.png is not a NumPy file of latents (.npz or .npy): give a projected-w.npz of project.py",
        ),
    ],
)
def test_latents_that_generate_refuses(network, arguments, words):
    assert refusal("--network", network, *arguments, script=generate) == f"Error: {words}"


def test_more_latents_than_fit_on_a_grid(network, monkeypatch):
    save_ws(Path("w.npz"), torch.zeros(3, 6, 8))
    monkeypatch.setattr(grid, "LARGEST_SHEET", 2 * 256)
    assert refusal("--network", network, "--latents", "w.npz", "--grid", script=generate) == (
        "Error: --grid: 3 pictures do not fit on one sheet, which holds 2 of this size"
    )
