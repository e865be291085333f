"""directions.py when something is wrong: one sentence with the mend, exit code 2, and no pictures."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import directions
from imaging import grid
from models.stylegan2.latents import save_ws
from tests.networks import ON_CPU, save_tiny

FILE = "found/directions.safetensors"


@pytest.fixture(autouse=True)
def network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_ws(Path("a.npz"), torch.zeros(1, 6, 8))
    return save_tiny(Path("runs/00000-a/network-000001.5.safetensors"))


def run(*arguments):
    return CliRunner().invoke(directions.main, [*map(str, arguments), *ON_CPU], catch_exceptions=False)


def refusal(*arguments):
    result = run(*arguments)
    assert result.exit_code == 2 and not Path("out").exists(), result.output
    return result.output.splitlines()[-1].removeprefix("Error: ")


def labels(text):
    Path("labels.csv").write_text(text)
    return ["--method", "labels", "--labels", "labels.csv"]


@pytest.fixture
def found():
    assert (
        run(
            "--method",
            "sefa",
            "--samples",
            "20",
            "--count",
            "3",
            "--seeds",
            "0",
            "--strengths",
            "0",
            "--outdir",
            "found",
        ).exit_code
        == 0
    )
    return ["--apply", FILE]


def test_nothing_to_do():
    assert refusal() == ("give --method sefa, pca or labels to find directions, or --apply to move pictures along them")


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        (["--method", "pca"], "--method"),
        (["--count", "3"], "--count"),
        (["--labels", "a.csv"], "--labels"),
        (["--orthogonal"], "--orthogonal"),
        (["--samples", "30"], "--samples"),
        (["--across-classes"], "--across-classes"),
    ],
)
def test_options_of_finding_when_applying(options, flag):
    told = "does not apply with --apply, which takes directions as they are in the file: leave it out"
    assert refusal("--apply", FILE, *options) == f"{flag} {told}"


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        (["--direction", "0"], "--direction"),
        (["--latents", "a.npz"], "--latents"),
        (["--film", "a.gif"], "--film"),
        (["--fps", "30"], "--fps"),
        (["--frames", "30"], "--frames"),
    ],
)
def test_options_of_applying_when_finding(options, flag):
    told = "does not apply with --method: find the directions, then --apply their file: leave it out"
    assert refusal("--method", "pca", *options) == f"{flag} {told}"


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("labels", ["--count", "3"]),
        ("labels", ["--samples", "30"]),
        ("pca", ["--labels", "a.csv"]),
        ("sefa", ["--orthogonal"]),
    ],
)
def test_options_of_other_methods(method, options):
    assert refusal("--method", method, *options) == f"{options[0]} does not apply with --method {method}: leave it out"


def test_classes_that_are_not_there(tmp_path):
    told = "--across-classes does not apply"
    network = Path("runs/00000-a/network-000001.5.safetensors")
    assert refusal("--method", "pca", "--across-classes") == f"{told} because {network} has no classes: leave it out"
    other = save_tiny(tmp_path / "a.safetensors", classes=2)
    assert refusal("--network", other, "--method", "pca", "--across-classes", "--class", "1") == (
        f"{told} with --class, which leaves only one class: leave it out"
    )


def test_latents_of_a_file(found, tmp_path):
    told = "there is no file b.npz: give a projected-w.npz that project.py wrote"
    assert refusal(*found, "--latents", "b.npz") == told
    assert refusal(*found, "--latents", "a.npz", "--seeds", "1") == (
        "--latents takes the place of --seeds: give one of them"
    )
    conditional = save_tiny(tmp_path / "a.safetensors", classes=2)
    assert refusal(*found, "--network", conditional, "--latents", "a.npz", "--class", "1") == (
        "--class does not apply to --latents, which have their class in them: leave it out"
    )


@pytest.mark.parametrize("flag", ["--fps", "--frames"])
def test_settings_of_a_film_that_is_not_made(found, flag):
    assert refusal(*found, flag, "30") == f"{flag} does not apply without --film: leave it out"


def test_labels_are_needed():
    assert refusal("--method", "labels") == (
        "--method labels needs --labels, a CSV or JSON of seeds and their attributes"
    )


def test_more_directions_than_w_has_numbers():
    assert refusal("--method", "sefa", "--samples", "20", "--count", "9") == (
        "9 directions: w has 8 numbers, so there can be 1 to 8"
    )


def rows(values):
    return "seed,smile\n" + "".join(f"{k},{value}\n" for k, value in enumerate(values))


def test_labels_that_show_nothing(tmp_path):
    assert refusal(*labels(rows(["yes"] * 30))) == (
        "the attribute smile: all 30 pictures have the value 1: label some that differ"
    )
    assert refusal(*labels(rows(["yes", "no"] * 5 + [""] * 30))) == (
        "the attribute smile: 10 pictures have a value, but at least 20 are needed: label more"
    )
    other = save_tiny(tmp_path / "a.safetensors", classes=2)
    common = ["--network", other, *labels(rows(["yes", "no"] * 15))]
    assert refusal(*common) == ("the attribute smile: the class of a picture alone decides it: add --across-classes")
    assert run(*common, "--across-classes").exit_code == 0


def test_labels_that_cannot_be_read():
    assert refusal(*labels("smile\nyes\n")) == (
        "the first line of labels.csv has no column of pictures: name one column seed"
    )
    assert refusal(*labels("seed,smile\n,yes\n")) == (
        "line 2 of labels.csv lacks the seed of its picture: write a number or a name such as seed0004.png"
    )
    assert refusal(*labels("seed,a/b\n0,1\n")) == (
        "'a/b' cannot name a direction: write letters, digits, spaces, dots, - and _"
    )


def test_attributes_that_are_mixtures_of_others():
    text = "seed,a,b\n" + "".join(f"{k},{k % 2},{k % 2}\n" for k in range(30))
    assert refusal(*labels(text), "--orthogonal") == ("direction 0 is a mixture of the others: leave one of them out")


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ("smile", "got 'smile', expected some of 0 sefa0, 1 sefa1, 2 sefa2"),
        ("0,3", "got '3', expected some of 0 sefa0, 1 sefa1, 2 sefa2"),
        ("0,", "got '', expected some of 0 sefa0, 1 sefa1, 2 sefa2"),
    ],
)
def test_directions_that_are_not_there(found, chosen, told):
    assert refusal(*found, "--direction", chosen) == f"--direction: {told}"


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ("rough", "got 'rough', expected coarse, middle, fine or a list such as 0-6 or 0,2,5-7"),
        ("0-6", "got '0-6', but this network has the layers 0-5"),
        ("fine", "a network with 6 layers of w has no fine layers"),
    ],
)
def test_layers_that_do_not_fit(found, layers, told):
    assert refusal(*found, "--layers", layers) == f"--layers: {told}"
    assert refusal("--method", "sefa", "--layers", layers) == f"--layers: {told}"


def test_files_that_are_not_directions(network, tmp_path):
    wanted = "give a directions.safetensors that directions.py wrote"
    assert refusal("--apply", "a.safetensors") == f"there is no file a.safetensors: {wanted}"
    assert refusal("--apply", network) == f"{network} is not a file of directions: {wanted}"


def test_directions_of_a_w_of_another_width(found, tmp_path):
    other = save_tiny(tmp_path / "a.safetensors", w_dim=4)
    assert refusal(*found, "--network", other) == (
        f"{FILE} holds directions of 8 numbers, but this network's w has 4: "
        "give the network that they were found in, or find this network's own"
    )


def test_films_that_cannot_be(found):
    assert refusal(*found, "--film", "../a.gif") == "--film ../a.gif: it is written to --outdir, so give a plain name"
    assert refusal(*found, "--film", "a.avi").startswith("--film out/a.avi: expected a film (.mp4, .gif, .webp)")


def test_sheets_and_frames_that_no_program_could_open(found, monkeypatch):
    monkeypatch.setattr(grid, "LARGEST_SHEET", 5 * 20 * 64)
    assert refusal(*found, "--strengths", "0,1") == (
        "3 directions and --strengths: 6 pictures do not fit on one sheet, which holds 5 of this size"
    )
    assert refusal(*found, "--strengths", "0", "--film", "a.gif", "--seeds", "0-8") == (
        "frames of 3 directions and --seeds: 27 pictures do not fit on one sheet, which holds 25 of this size"
    )
