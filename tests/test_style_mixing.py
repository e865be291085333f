import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import generate
import style_mixing
from imaging import grid
from imaging.grid import enlargement
from models.families import read_network
from models.sampler import Options
from sampling import command
from tests.imaging.pictures import places
from tests.networks import ON_CPU, save_tiny


@pytest.fixture(autouse=True)
def network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return save_tiny(tmp_path / "runs" / "00000-a" / "network-000001.5.safetensors")


def run(*arguments, script=style_mixing.main):
    return CliRunner().invoke(script, [*map(str, arguments), *ON_CPU], catch_exceptions=False)


def picture(name, folder="out"):
    return Path(folder, f"{name}.png").read_bytes()


def test_it_runs_without_options_and_says_what_it_wrote():
    result = run()
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "wrote 29 pictures, grid.png and style_mixing.json to out"
    record = json.loads(Path("out/style_mixing.json").read_text())
    assert record["options"]["rows"] == "0-3" and record["options"]["cols"] == "10-14"
    assert record["options"]["styles"] == "coarse" and record["kimg"] == 1.5


def test_pictures_of_every_pair_and_of_every_seed():
    run("--rows", "85,100", "--cols", "55,821,7", "--styles", "0-2")
    names = {path.stem for path in Path("out").glob("*.png")}
    mixed = {f"{row}-{col}" for row in (85, 100) for col in (55, 821, 7)}
    assert names == mixed | {f"{seed}-{seed}" for seed in (85, 100, 55, 821, 7)} | {"grid"}


def test_unmixed_pictures_are_those_of_generate():
    run("--rows", "3", "--cols", "8", "--psi", "0.6", "--noise-mode", "random")
    run("--seeds", "3,8", "--psi", "0.6", "--noise-mode", "random", script=generate.main)
    assert picture("3-3") == picture("seed0003") and picture("8-8") == picture("seed0008")


def test_all_layers_give_the_column_and_some_layers_neither():
    run("--rows", "1,2", "--cols", "5,6", "--styles", "0-5")
    for row in (1, 2):
        for col in (5, 6):
            assert picture(f"{row}-{col}") == picture(f"{col}-{col}")
    run("--rows", "1", "--cols", "5", "--styles", "2-3", "--outdir", "some")
    assert picture("1-5", "some") not in (picture("1-1", "some"), picture("5-5", "some"))


def test_complementary_layers_swap_row_and_column():
    run("--rows", "1", "--cols", "5", "--styles", "0-1", "--outdir", "there")
    run("--rows", "5", "--cols", "1", "--styles", "2-5", "--outdir", "back")
    assert picture("1-5", "there") == picture("5-1", "back")


def test_the_grid_is_the_figure_of_the_paper_with_its_seeds():
    run("--rows", "1,2", "--cols", "5,6,7")
    grid = Image.open("out/grid.png")
    names = [["5-5", "6-6", "7-7"], ["1-1", "1-5", "1-6", "1-7"], ["2-2", "2-5", "2-6", "2-7"]]
    found = [[places(grid, Image.open(f"out/{name}.png"), 3, 4) for name in row] for row in names]
    assert all(len(place) == 1 for row in found for place in row)
    first, *rest = [[place for (place,) in row] for row in found]
    for row in rest:
        assert len({y for _, y in row}) == 1 and [x for x, _ in row[1:]] == [x for x, _ in first]
    side = 16 * enlargement((16, 16), 3, 4)
    assert side == 256 and first[1][0] - first[0][0] > side and rest[1][0][1] - rest[0][0][1] > side, "gaps"
    pixels = np.asarray(grid.convert("L"))
    assert (pixels[: first[0][1], first[0][0] :] < 128).any(), "seeds above the columns"
    for _, y in (row[0] for row in rest):
        assert (pixels[y : y + side, : rest[0][0][0]] < 128).any(), "seeds before the rows"


def test_a_seed_may_be_row_and_column_and_come_twice():
    result = run("--rows", "1,2,1", "--cols", "2,2")
    assert result.exit_code == 0
    assert {path.stem for path in Path("out").glob("*-*.png")} == {"1-1", "2-2", "1-2"}
    found = places(Image.open("out/grid.png"), Image.open("out/1-1.png"), 4, 3)
    assert len(found) == 2 and len({x for x, _ in found}) == 1


def test_each_seed_has_its_class_unless_one_is_named(tmp_path):
    network = save_tiny(tmp_path / "a.safetensors", classes=2, class_names=("cat", "dog"))
    common = ["--network", network, "--rows", "0", "--cols", "1"]
    assert "seed mod 2 (0 cat, 1 dog)" in run(*common, "--outdir", "each").stdout
    run(*common, "--class", "cat", "--outdir", "cats")
    assert picture("0-0", "each") == picture("0-0", "cats")
    assert picture("1-1", "each") != picture("1-1", "cats")


@pytest.mark.parametrize("channels", [1, 4])
def test_gray_and_transparent_networks(tmp_path, channels):
    network = save_tiny(tmp_path / "a.safetensors", channels=channels)
    assert run("--network", network, "--rows", "0", "--cols", "1").exit_code == 0
    assert Image.open("out/grid.png").mode == "RGB"  # transparent pictures lie on white


@pytest.mark.parametrize(
    ("styles", "told"),
    [
        ("rough", "got 'rough', expected coarse, middle, fine or a list such as 0-6 or 0,2,5-7"),
        ("0-6", "got '0-6', but this network has the layers 0-5"),
        ("fine", "a network with 6 layers of w has no fine layers"),
    ],
)
def test_layers_that_do_not_fit_are_refused(styles, told):
    result = run("--styles", styles)
    assert result.exit_code == 2 and result.output.splitlines()[-1] == f"Error: --styles: {told}"
    assert not Path("out").exists()


def test_a_grid_that_no_program_could_open(monkeypatch):
    result = run("--rows", "0-99999", "--cols", "0-99999")
    assert result.exit_code == 2 and not Path("out").exists()
    assert result.output.splitlines()[-1] == (
        "Error: --rows and --cols: 10000200001 pictures do not fit on one sheet, which holds 209715 of this size"
    )
    monkeypatch.setattr(grid, "LARGEST_SHEET", 9 * 20 * 64)
    assert run("--rows", "0-1", "--cols", "0-2").exit_code == 2
    assert run("--rows", "0-1", "--cols", "0-1").exit_code == 0


def test_one_picture_is_singular():
    assert "wrote 1 picture, grid.png" in run("--rows", "3", "--cols", "3").stdout


@pytest.mark.parametrize("flag", ["--seeds", "--psis", "--grid"])
def test_options_of_other_scripts_are_refused(flag):
    result = run(flag, "0")
    assert result.exit_code == 2 and flag in result.output.splitlines()[-1]


def test_a_network_without_styles_is_refused(network, monkeypatch):
    """The sentence names the families whose networks have them."""

    class Denoising(Options):
        pass

    found = read_network(network)
    found = replace(found, family=replace(found.family, title="Toy", options=Denoising))
    monkeypatch.setattr(command, "read_network", lambda place: found)
    result = run()
    assert result.exit_code == 2 and result.output.splitlines()[-1] == (
        "Error: this script needs a network of StyleGAN2 or lucidrains' stylegan2-pytorch, "
        f"but {network} holds a network of Toy"
    )
