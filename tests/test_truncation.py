import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import generate
import truncation
from sampling.stylegan2.pictures import signed
from tests.imaging.pictures import places
from tests.networks import ON_CPU, save_tiny
from torch_utils.flags import FloatList


@pytest.fixture(autouse=True)
def network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return save_tiny(tmp_path / "runs" / "00000-a" / "network-000001.5.safetensors")


def run(*arguments, script=truncation.main):
    return CliRunner().invoke(script, [*map(str, arguments), *ON_CPU], catch_exceptions=False)


def picture(name, folder="out"):
    return Path(folder, f"{name}.png").read_bytes()


def test_it_runs_without_options_and_says_what_it_wrote():
    result = run()
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "wrote 30 pictures, truncation.png and truncation.json to out"
    record = json.loads(Path("out/truncation.json").read_text())
    assert record["options"]["psis"] == [-1.0, -0.5, 0.0, 0.5, 1.0] and record["options"]["seeds"] == "0-5"
    assert "psi" not in record["options"]


def test_a_picture_for_each_seed_and_psi():
    run("--seeds", "0,7", "--psis", "-1:1:0.5")
    psis = ["-1.0", "-0.5", "+0.0", "+0.5", "+1.0"]
    names = {path.stem for path in Path("out").glob("seed*.png")}
    assert names == {f"seed{seed}-psi{psi}" for seed in ("0000", "0007") for psi in psis}


def test_pictures_are_those_of_generate():
    run("--seeds", "3", "--psis", "1,0.3", "--psi-cutoff", "4")
    run("--seeds", "3", "--outdir", "full", script=generate.main)
    run("--seeds", "3", "--psi", "0.3", "--psi-cutoff", "4", "--outdir", "less", script=generate.main)
    assert picture("seed0003-psi+1.0") == picture("seed0003", "full")
    assert picture("seed0003-psi+0.3") == picture("seed0003", "less")


def test_psi_0_is_one_picture_for_all_seeds():
    run("--seeds", "0-3", "--psis", "0,0.5")
    assert len({picture(f"seed000{seed}-psi+0.0") for seed in range(4)}) == 1
    assert len({picture(f"seed000{seed}-psi+0.5") for seed in range(4)}) == 4


def test_psi_0_is_one_picture_for_all_classes_too(tmp_path):
    network = save_tiny(tmp_path / "a.safetensors", classes=2)
    run("--network", network, "--seeds", "0-1", "--psis", "0")
    assert picture("seed0000-psi+0.0") == picture("seed0001-psi+0.0")


def test_the_sheet_shows_every_picture_in_its_place_and_labels():
    run("--seeds", "0-1", "--psis", "-1,0.5,1")
    sheet = Image.open("out/truncation.png")
    names = [f"seed{seed}-psi{psi}" for seed in ("0000", "0001") for psi in ("-1.0", "+0.5", "+1.0")]
    found = [places(sheet, Image.open(f"out/{name}.png"), 2, 3) for name in names]
    xs, ys = zip(*(place for (place,) in found), strict=True)
    assert len(set(ys[:3])) == 1 and len(set(ys[3:])) == 1 and ys[0] < ys[3]
    assert xs[:3] == xs[3:] and xs[0] < xs[1] < xs[2]
    pixels = np.asarray(sheet)
    assert (pixels[: ys[0], xs[0] :] < 128).any() and (pixels[ys[0] :, : xs[0]] < 128).any()


@pytest.mark.parametrize("channels", [1, 4])
def test_gray_and_transparent_networks(tmp_path, channels):
    network = save_tiny(tmp_path / "a.safetensors", channels=channels)
    assert run("--network", network, "--seeds", "0", "--psis", "0.5").exit_code == 0
    assert Image.open("out/truncation.png").mode == "RGB"
    assert len(Image.open("out/seed0000-psi+0.5.png").getbands()) == channels


@pytest.mark.parametrize(
    ("psis", "told"),
    [
        ("nan", "got 'nan', expected numbers from -1000 to 1000 such as 0.5,0.7 or -1:1:0.5"),
        ("-1:1", "got '-1:1', expected FROM:TO:STEP such as -1:1:0.5"),
        ("-1:1:0", "got the step 0, expected a step that leads from -1 to 1"),
        ("", "got '', expected numbers from -1000 to 1000 such as 0.5,0.7 or -1:1:0.5"),
    ],
)
def test_values_that_mean_nothing_are_refused(psis, told):
    result = run("--psis", psis)
    assert result.exit_code == 2 and not Path("out").exists()
    assert result.output.splitlines()[-1] == f"Error: Invalid value for '--psis': {told}"


def test_a_sheet_that_no_program_could_open():
    result = run("--seeds", "0-999999", "--psis", "-1000:1000:0.01")
    assert result.exit_code == 2 and not Path("out").exists()
    assert result.output.splitlines()[-1] == (
        "Error: --seeds and --psis: 200001000000 pictures do not fit on one sheet, which holds 209715 of this size"
    )


def test_one_picture_is_singular():
    assert "wrote 1 picture, truncation.png" in run("--seeds", "3", "--psis", "-0").stdout
    assert Path("out/seed0003-psi+0.0.png").exists()


@pytest.mark.parametrize(
    ("psis", "labels"),
    [
        ("0.5,1,-0", ["psi 0.5", "psi 1", "psi 0"]),
        ("0.1234567,0.1234568", ["psi 0.1234567", "psi 0.1234568"]),
        ("0.5,0.5,0.50000001", ["psi 0.5", "psi 0.5", "psi 0.50000001"]),
        ("0.3,0.30000000000000004", ["psi 0.3", "psi 0.30000000000000004"]),
    ],
)
def test_labels_tell_values_apart(psis, labels):
    assert [f"psi {signed(psi).lstrip('+')}" for psi in FloatList().read(psis)] == labels


def test_psi_does_not_apply():
    result = run("--psi", "0.5")
    assert result.exit_code == 2 and not Path("out").exists()
