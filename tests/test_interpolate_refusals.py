"""interpolate.py when something is wrong: one sentence with the mend, exit code 2, and nothing written."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import generate
import interpolate
from models.stylegan2.latents import save_ws
from tests.networks import ON_CPU, save_tiny


@pytest.fixture(autouse=True)
def network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return save_tiny(tmp_path / "runs" / "00000-a" / "network-000001.5.safetensors")


@pytest.fixture
def conditional(tmp_path):
    return save_tiny(tmp_path / "conditional.safetensors", classes=3, class_names=("cat", "dog", "cow"))


def run(*arguments, script=interpolate.main):
    return CliRunner().invoke(script, [*map(str, arguments), *ON_CPU], catch_exceptions=False)


def refusal(*arguments):
    result = run(*arguments)
    assert result.exit_code == 2 and not Path("out").exists(), result.output
    return result.output.splitlines()[-1].removeprefix("Error: ")


def test_spherical_paths_are_for_z():
    assert refusal("--path", "spherical", "--space", "w") == (
        "--path spherical needs z, but --space is w: take --path linear or spline"
    )
    save_ws(Path("a.npz"), torch.zeros(2, 6, 8))
    assert refusal("--path", "spherical", "--latents", "a.npz") == (
        "--path spherical needs z, but --latents are w: take --path linear or spline"
    )


def test_latents_are_no_z():
    assert refusal("--space", "z", "--latents", "a.npz") == (
        "--space z does not apply to --latents, which are w: leave it out"
    )


def test_seeds_and_latents_together():
    assert refusal("--seeds", "0-3", "--latents", "a.npz") == (
        "--seeds and --latents both give key frames: leave one of them out"
    )


def test_latents_that_are_not_there():
    assert refusal("--latents", "a.npz") == "there is no file a.npz: give a projected-w.npz that project.py wrote"


@pytest.mark.parametrize("loop", ["--loop", "--no-loop"])
def test_one_key(loop):
    wanted = "gives one key frame for each film, but a film needs at least 2"
    assert refusal("--seeds", "4", loop) == f"--seeds {wanted}"
    assert refusal("--seeds", "0-3", "--grid", "2x2", loop) == f"--seeds {wanted}"
    save_ws(Path("a.npz"), torch.zeros(1, 6, 8))
    assert refusal("--latents", "a.npz", loop) == f"--latents {wanted}"


def test_keys_that_cannot_be_dealt_out():
    assert refusal("--seeds", "0-7", "--grid", "3x2") == (
        "--grid 3x2 has 6 cells, but --seeds gives 8 key frames: give each cell the same number, such as 12 in all"
    )


def test_a_grid_that_no_program_could_open():
    assert refusal("--grid", "2000x1000") == (
        "--grid and --scale: 2000000 pictures do not fit on one sheet, which holds 1048576 of this size"
    )


def test_a_grid_that_a_format_cannot_hold():
    assert refusal("--grid", "1025x1") == (
        "--format out/interpolation.mp4: mp4 takes frames of at most 16384 pixels a side, not 16400x16: "
        "make them smaller, or write a folder of frames"
    )


def test_a_rate_that_a_gif_cannot_show():
    assert refusal("--format", "gif", "--fps", "60") == "--fps 60: gif takes more than 0 and up to 50 frames a second"
    assert refusal("--fps", "0") == "--fps 0: mp4 takes more than 0 and up to 240 frames a second"


def test_resampling_without_scale():
    assert refusal("--resample", "nearest") == "--resample does not apply with --scale 1: leave it out"


def test_centers_without_psi():
    wanted = "--centers 8 has no effect with --psi 1: give a smaller --psi, such as 0.5, or leave --centers out"
    assert refusal("--centers", "8") == wanted
    result = run("--centers", "8", script=generate.main)
    assert result.exit_code == 2 and result.output.splitlines()[-1] == f"Error: {wanted}"


def test_a_class_of_latents(conditional):
    save_ws(Path("a.npz"), torch.zeros(2, 6, 8))
    common = ["--network", conditional, "--latents", "a.npz"]
    assert refusal(*common, "--class", "dog") == (
        "--class does not apply to --latents, which have their class in them: leave it out"
    )
    assert refusal(*common, "--centers", "3", "--psi", "0.5") == (
        "--centers with --latents needs --class: latent files do not record a class"
    )


@pytest.mark.parametrize(
    "arguments",
    [["--frames", "0"], ["--grid", "0x2"], ["--scale", "0"], ["--fps", "nan"], ["--centers", "0"], ["--seeds", ""]],
)
def test_values_that_mean_nothing_name_their_option(arguments):
    told = refusal(*arguments)
    assert told.startswith("Invalid value for ") and arguments[0] in told
