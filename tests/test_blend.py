import hashlib
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import blend
import generate
from imaging import grid
from imaging.grid import sheet
from models.families import load_network, read_network, save_network
from models.stylegan2.blending import likeness
from tests.networks import ON_CPU, save_tiny, tiny_discriminator, tiny_generator


def save_child(path, class_names=(), **settings):
    """A network that was trained from that of `save_tiny`, as it were."""
    G = tiny_generator(**settings)
    for tensor in G.state_dict().values():
        tensor.add_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)) * 0.3)
    save_network(path, "stylegan2", {"G_ema": G}, {"kimg": 2.5, "data": {"class_names": class_names}})
    return path


@pytest.fixture(autouse=True)
def networks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return save_tiny(Path("a.safetensors")), save_child(Path("b.safetensors"))


def run(*arguments, network="a.safetensors", other="b.safetensors", script=blend.main):
    parents = ["--network", network, "--with", other] if script is blend.main else []
    return CliRunner().invoke(script, [*map(str, [*parents, *arguments]), *ON_CPU], catch_exceptions=False)


def refused(*arguments, **parents):
    """The sentence of a refusal, after which nothing has been written."""
    result = run(*arguments, **parents)
    assert result.exit_code == 2 and not Path("out").exists()
    return result.output.splitlines()[-1].removeprefix("Error: ")


def tensors(path):
    return read_network(path).tensors


def test_it_writes_the_network_its_pictures_and_a_record():
    result = run("--at", "8", "--seeds", "0-2")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "A: G_ema of a.safetensors",
        "B: G_ema of b.safetensors",
        "wrote blend.safetensors, blend.png and blend.json to out",
    ]
    assert {path.name for path in Path("out").iterdir()} == {"blend.safetensors", "blend.png", "blend.json"}
    record = json.loads(Path("out/blend.json").read_text())
    assert record["share of b"] == {"layers": [0, 1, 1, 1, 1], "mapping": 0}
    assert record["a"]["path"] == "a.safetensors" and record["a"]["kimg"] == 1.5 and record["b"]["kimg"] == 2.5
    assert record["a"]["sha256"] == hashlib.sha256(Path("a.safetensors").read_bytes()).hexdigest()
    assert record["options"] | {"at": 8, "with": "b.safetensors", "seeds": "0-2"} == record["options"]
    assert read_network("out/blend.safetensors").metadata["blend"] == {
        key: record[key] for key in ("a", "b", "likeness", "share of b")
    }


def test_low_resolutions_are_of_the_first_and_high_ones_of_the_second():
    run("--at", "16", "--seeds", "0")
    a, b, made = tensors("a.safetensors"), tensors("b.safetensors"), tensors("out/blend.safetensors")
    for key, tensor in made.items():
        parent, other = (b, a) if key.startswith("G_ema.synthesis.blocks.2.") else (a, b)
        assert torch.equal(tensor, parent[key]) and not torch.equal(tensor, other[key]), key


@pytest.mark.parametrize(("weight", "parent"), [("0", "a"), ("1", "b")])
def test_all_of_one_is_that_one(weight, parent):
    run("--weight", weight, "--seeds", "0")
    expected, made = tensors(f"{parent}.safetensors"), tensors("out/blend.safetensors")
    assert made.keys() == expected.keys() and all(torch.equal(made[key], expected[key]) for key in made)


@pytest.mark.parametrize(
    ("options", "layers", "mapping"),
    [
        (["--at", "4"], [1, 1, 1, 1, 1], 0),
        (["--layer", "2", "--mapping", "b"], [0, 0, 1, 1, 1], 1),
        (["--at", "8", "--width", "2", "--mapping", "mean"], [3 / 8, 5 / 8, 7 / 8, 1, 1], 0.5),
        (["--weight", "0.25"], [0.25] * 5, 0.25),
        (["--weight", "0.25", "--mapping", "a"], [0.25] * 5, 0),
    ],
)
def test_what_the_options_mean(options, layers, mapping):
    assert run(*options, "--seeds", "0").exit_code == 0
    shares = json.loads(Path("out/blend.json").read_text())["share of b"]
    assert shares == {"layers": layers, "mapping": mapping}


def test_the_pictures_are_those_of_generate():
    run("--at", "8", "--seeds", "3,5", "--psi", "0.7", "--out", "made/toons.safetensors")
    rows = []
    for network in ("a.safetensors", "made/toons.safetensors", "b.safetensors"):
        run("--network", network, "--seeds", "3,5", "--psi", "0.7", script=generate.main)
        rows.append([Image.open(f"out/seed{seed:04d}.png").copy() for seed in (3, 5)])
    assert Image.open("made/toons.png").tobytes() == sheet(rows, ["A", "blend", "B"], ["3", "5"]).tobytes()
    assert Path("made/toons.json").is_file()


def test_the_new_network_keeps_the_names_of_its_classes():
    save_tiny(Path("a.safetensors"), classes=2, class_names=("cat", "dog"))
    save_child(Path("b.safetensors"), classes=2, class_names=("lion", "wolf"))
    run("--weight", "0.5", "--seeds", "0")
    assert read_network("out/blend.safetensors").metadata["data"]["class_names"] == ["cat", "dog"]
    run("--weight", "0.5", "--mapping", "b", "--seeds", "0")
    assert (
        "seed mod 2 (0 lion, 1 wolf)"
        in run("--network", "out/blend.safetensors", "--seeds", "0", script=generate.main).stdout
    )


def test_a_mapping_network_taken_whole_brings_its_classes():
    save_child(Path("b.safetensors"), classes=3)
    assert run("--at", "8", "--mapping", "b", "--seeds", "0").exit_code == 0
    assert load_network("out/blend.safetensors").config.classes == 3
    assert run("--at", "8", "--mapping", "a", "--seeds", "0").exit_code == 0
    assert load_network("out/blend.safetensors").config.classes == 0


def test_only_averaged_generators_are_blended():
    G, D = tiny_generator(), tiny_discriminator()
    save_network(Path("a.safetensors"), "stylegan2", {"G_ema": G, "G": G, "D": D}, {})
    result = run("--at", "8", "--seeds", "0")
    assert result.stdout.splitlines()[0] == "A: G_ema of a.safetensors; its G and D are left out"
    assert read_network("out/blend.safetensors").parts == ["G_ema"]


def test_a_run_folder_stands_for_its_newest_network():
    save_tiny(Path("runs/00000-a/network-000001.5.safetensors"))
    result = run("--at", "8", "--seeds", "0", network="runs/00000-a")
    assert result.stdout.splitlines()[0] == "A: G_ema of runs/00000-a/network-000001.5.safetensors"


@pytest.mark.parametrize("channels", [1, 4])
def test_gray_and_transparent_networks(channels):
    save_tiny(Path("a.safetensors"), channels=channels)
    save_child(Path("b.safetensors"), channels=channels)
    assert run("--at", "8", "--seeds", "0").exit_code == 0
    assert load_network("out/blend.safetensors").config.channels == channels


def test_rectangular_networks_count_the_longer_side():
    save_tiny(Path("a.safetensors"), height=12)
    save_child(Path("b.safetensors"), height=12)
    assert run("--at", "8", "--seeds", "0").exit_code == 0
    assert json.loads(Path("out/blend.json").read_text())["share of b"]["layers"] == [0, 1, 1, 1, 1]


def test_strangers_are_blended_with_a_warning():
    G = tiny_generator()
    for tensor in G.state_dict().values():
        tensor.normal_(generator=torch.Generator().manual_seed(7))
    save_network(Path("b.safetensors"), "stylegan2", {"G_ema": G}, {})
    result = run("--at", "8", "--seeds", "0")
    known = f"{likeness(tiny_generator(), G):.2f}"
    assert result.exit_code == 0
    assert result.stdout.splitlines()[2] == (
        f"warning: as it seems, neither of them was trained from the other (likeness {known}), and such "
        "networks blend into nothing: train one from the other with train.py --transfer"
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "give exactly one of --at, --layer and --weight: got none of them"),
        (
            ["--at", "8", "--weight", "0.5"],
            "give exactly one of --at, --layer and --weight: got --at and --weight",
        ),
        (["--at", "12"], "--at 12 is none of the network's resolutions, 4, 8, 16"),
        (["--layer", "5"], "--layer 5: this network's layers are 0 to 4"),
        (["--weight", "-0.1"], "--weight -0.1 is no share: give a number from 0, all of A, to 1, all of B"),
        (["--weight", "2"], "--weight 2 is no share: give a number from 0, all of A, to 1, all of B"),
        (
            ["--weight", "0.5", "--width", "0"],
            "--width does not apply with --weight, which is the same in all layers: leave it out",
        ),
        (
            ["--at", "8", "--width", "-1"],
            "--width -1: give the doublings over which B takes over, 0 or more",
        ),
        (["--at", "8", "--out", "a.pt"], "--out a.pt: the name of a network file ends in .safetensors"),
        (
            ["--at", "8", "--out", "b.safetensors"],
            "--out b.safetensors is the file of --with, which would be lost: choose another name",
        ),
        (
            ["--at", "8", "--out", "./a.safetensors"],
            "--out a.safetensors is the file of --network, which would be lost: choose another name",
        ),
        (
            ["--at", "8", "--out", "a.safetensors/c.safetensors"],
            "--out a.safetensors/c.safetensors needs a folder, and a.safetensors is a file: choose another path",
        ),
        (
            ["--at", "8", "--with", "a.safetensors"],
            "--network and --with are the same network, a.safetensors: name another one",
        ),
    ],
)
def test_options_that_do_not_apply_are_refused(options, told):
    assert refused(*options) == told


def test_a_folder_for_the_file():
    Path("c.safetensors").mkdir()
    told = "--out c.safetensors is a folder: name a file, such as c.safetensors/blend.safetensors"
    assert refused("--at", "8", "--out", "c.safetensors") == told


@pytest.mark.parametrize(
    ("settings", "options", "told"),
    [
        (
            {"height": 32, "width": 32},
            ["--at", "8"],
            "networks that differ in the size of their images, 16x16 and 32x32, cannot be blended: "
            "blend a network with one that was trained from it",
        ),
        (
            {"classes": 2},
            ["--weight", "0.5"],
            "mapping networks that differ in generator.classes, 0 and 2, cannot be blended, "
            "so take that of A or B whole, --mapping a or b",
        ),
    ],
)
def test_networks_that_do_not_fit_are_refused(settings, options, told):
    save_child(Path("b.safetensors"), **settings)
    assert refused(*options) == told


def test_files_that_are_no_networks_are_refused():
    assert refused("--at", "8", other="c.safetensors") == (
        "there is no file or folder c.safetensors: give a file, a run folder, a URL, hf://USER/NAME, or the name of a "
        "published network"
    )
    save_network(Path("d.safetensors"), "stylegan2", {"D": tiny_discriminator()}, {})
    assert refused("--at", "8", network="d.safetensors") == (
        "d.safetensors has no G_ema, only D: take another network file"
    )


def test_a_sheet_that_no_program_could_open(monkeypatch):
    monkeypatch.setattr(grid, "LARGEST_SHEET", 2 * 3 * 256)
    assert refused("--at", "8", "--seeds", "0-2") == (
        "--seeds: 9 pictures do not fit on one sheet, which holds 6 of this size"
    )
    assert run("--at", "8", "--seeds", "0-1").exit_code == 0
