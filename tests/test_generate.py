import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import generate
from imaging.grid import enlargement
from imaging.pixels import from_pil
from models.families import read_network
from models.sampler import MixedStream, SeedStream
from models.stylegan2 import centers as centers_of_w
from sampling import command
from tests.imaging.pictures import places
from tests.networks import ON_CPU, pictures_of, save_tiny, tiny_generator

ROOT = Path(__file__).parents[1]
BUNDLED = command.BUNDLED


@pytest.fixture
def network(tmp_path):
    return save_tiny(tmp_path / "network.safetensors")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A working directory without runs, and no bundled network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "BUNDLED", tmp_path / "assets" / "none.safetensors")


def run(*arguments):
    return CliRunner().invoke(generate.main, [*map(str, arguments), *ON_CPU], catch_exceptions=False)


def files(folder="out"):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_one_png_for_each_seed_and_what_made_them(network):
    result = run("--network", network, "--seeds", "0-2,15,12345")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"network {network}: 16x16 RGB, 1.5 kimg",
        "wrote 5 png files and generate.json to out",
    ]
    names = ["generate.json", "seed0000.png", "seed0001.png", "seed0002.png", "seed0015.png", "seed12345.png"]
    assert sorted(files()) == names
    G = tiny_generator()
    (expected,) = pictures_of(G, [15])
    assert np.array_equal(from_pil(Image.open("out/seed0015.png")), expected)


def test_the_record_says_what_was_done(network):
    run("--network", network, "--seeds", "0-2,7,8", "--trunc", "0.5", "--noise-mode", "none", "--device", "cpu")
    record = json.loads(Path("out/generate.json").read_text())
    assert record["command"].startswith("python generate.py")
    assert (record["network"], record["kimg"], record["torch"]) == (str(network), 1.5, torch.__version__)
    assert record["options"] == {
        "network": str(network),
        "class": None,
        "seeds": "0-2,7-8",
        "latents": None,
        "psi": 0.5,
        "centers": None,
        "psi-cutoff": None,
        "psi-from": 0,
        "noise-mode": "none",
        "noise-strength": 1.0,
        "noise-seed": None,
        "styles-of": "",
        "directions": None,
        "move": "",
        "outdir": "out",
        "device": "cpu",
        "precision": "fp32",
        "engine": "pytorch",
        "batch": 1,
        "mix": None,
        "classes": None,
        "grid": False,
        "format": "png",
    }


@pytest.mark.parametrize("noise_mode", ["const", "random"])
def test_the_bytes_of_a_picture_depend_on_its_seed_alone(network, noise_mode):
    common = ["--network", network, "--noise-mode", noise_mode, "--device", "cpu"]
    run(*common, "--seeds", "0-4", "--batch", 4, "--outdir", "many")
    run(*common, "--seeds", "3", "--outdir", "one")
    run(*common, "--seeds", "4,3,1", "--batch", 2, "--outdir", "some")
    many = files("many")
    for folder in ("one", "some"):
        pictures = {name: data for name, data in files(folder).items() if name.endswith(".png")}
        assert pictures == {name: many[name] for name in pictures}
    assert many["seed0003.png"] != many["seed0004.png"]


@pytest.mark.parametrize(
    ("count", "shape", "size"),
    [
        (16, (16, 16), (4, 4)),
        (5, (16, 16), (3, 2)),
        (3, (24, 12), (3, 1)),
        (1, (16, 16), (1, 1)),
        (8, (16, 16), (4, 2)),  # two full rows rather than three that are not
        (7, (16, 16), (3, 3)),
    ],
)
def test_a_grid_is_about_as_wide_as_high(tmp_path, count, shape, size):
    network = save_tiny(tmp_path / "a.safetensors", height=shape[0], width=shape[1])
    assert run("--network", network, "--seeds", f"0-{count - 1}", "--grid").exit_code == 0
    grid = Image.open("out/grid.png")
    columns, rows = size
    factor = enlargement(shape, rows, columns)
    assert factor > 1 and grid.size == (columns * shape[1] * factor, rows * shape[0] * factor)
    assert places(grid, Image.open("out/seed0000.png"), rows, columns) == [(0, 0)]


@pytest.mark.parametrize("ending", ["png", "webp", "jpg"])
@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_every_kind_of_picture_in_every_format(tmp_path, ending, channels, mode):
    network = save_tiny(tmp_path / "a.safetensors", channels=channels)
    result = run("--network", network, "--seeds", "0", "--format", ending, "--grid")
    assert result.exit_code == 0, result.output
    image = Image.open(f"out/seed0000.{ending}")
    assert image.size == (16, 16)
    if ending == "png":
        assert image.mode == mode
    elif ending == "jpg":
        assert image.mode == ("RGB" if channels == 4 else mode)


def test_classes_by_seed_by_number_and_by_name(tmp_path):
    network = save_tiny(tmp_path / "a.safetensors", classes=2, class_names=("cat", "dog"))
    result = run("--network", network, "--seeds", "0-3", "--outdir", "each")
    assert "class of each picture: seed mod 2 (0 cat, 1 dog)" in result.stdout.splitlines()
    result = run("--network", network, "--seeds", "0-3", "--class", "dog", "--outdir", "dogs")
    assert "class of all pictures: 1 dog" in result.stdout.splitlines()
    run("--network", network, "--seeds", "0-3", "--class", "1", "--outdir", "ones")
    each, dogs, ones = files("each"), files("dogs"), files("ones")
    for seed in range(4):
        name = f"seed000{seed}.png"
        assert dogs[name] == ones[name]
        assert (each[name] == dogs[name]) == (seed % 2 == 1)


def test_classes_without_names(tmp_path):
    network = save_tiny(tmp_path / "a.safetensors", classes=3)
    assert "class of each picture: seed mod 3 (0, 1, 2)" in run("--network", network, "--seeds", "0").stdout
    assert "class of all pictures: 2\n" in run("--network", network, "--seeds", "0", "--class", "2").stdout


def test_psi_0_is_the_average_picture_of_every_seed(network):
    run("--network", network, "--seeds", "0-2", "--psi", "0", "--outdir", "average")
    assert len({data for name, data in files("average").items() if name.endswith("png")}) == 1


def test_a_cutoff_truncates_the_first_layers_only(network):
    common = ["--network", network, "--seeds", "0"]
    for outdir, options in {
        "plain": [],
        "none": ["--psi", "0.3", "--psi-cutoff", "0"],
        "some": ["--psi", "0.3", "--psi-cutoff", "2"],
        "all": ["--psi", "0.3", "--psi-cutoff", "6"],
        "full": ["--psi", "0.3"],
    }.items():
        assert run(*common, *options, "--outdir", outdir).exit_code == 0
    made = {outdir: files(outdir)["seed0000.png"] for outdir in ("plain", "none", "some", "all", "full")}
    assert made["plain"] == made["none"] and made["all"] == made["full"]
    assert len(set(made.values())) == 3


def test_centers_are_what_psi_pulls_towards(network, monkeypatch):
    """At psi 0 there are as many pictures as centers, and none is the average's."""
    monkeypatch.setattr(centers_of_w, "SAMPLES", 500)
    common = ["--network", network, "--seeds", "0-19"]
    for outdir, options in {"average": ["--psi", "0"], "centers": ["--psi", "0", "--centers", "3"]}.items():
        result = run(*common, *options, "--outdir", outdir)
        assert result.exit_code == 0
    assert "found 3 centers of 500 w" in result.stdout.splitlines()
    average, centers = (
        {data for name, data in files(folder).items() if name.endswith("png")} for folder in ("average", "centers")
    )
    assert len(average) == 1 and len(centers) == 3 and not average & centers
    assert json.loads(Path("centers/generate.json").read_text())["options"]["centers"] == 3


def test_without_a_network_the_newest_of_runs_is_taken(tmp_path):
    for path in ("runs/00000-a/network-000009.0", "runs/00001-b/network-000001.0", "runs/00001-b/network-000002.0"):
        save_tiny(tmp_path / f"{path}.safetensors")
    result = run("--seeds", "0")
    assert result.stdout.splitlines()[0] == "network runs/00001-b/network-000002.0.safetensors: 16x16 RGB, 1.5 kimg"
    assert json.loads(Path("out/generate.json").read_text())["options"]["network"].startswith("runs/00001-b")


def test_without_runs_the_bundled_network_is_taken(tmp_path, monkeypatch):
    bundled = save_tiny(tmp_path / "assets" / "faces64.safetensors")
    monkeypatch.setattr(command, "BUNDLED", bundled)
    assert run("--seeds", "0").stdout.startswith(f"network {bundled}: ")


def test_the_bundled_network_makes_a_hundred_different_pictures(monkeypatch):
    file = read_network(BUNDLED)
    assert BUNDLED == ROOT / "assets" / "faces64.safetensors"
    assert BUNDLED.stat().st_size <= 4e6 and file.parts == ["G_ema"]
    config = file.part("G_ema").config
    assert (config.height, config.width, config.classes) == (64, 64, 5)
    monkeypatch.setattr(command, "BUNDLED", BUNDLED)
    assert run("--seeds", "0-99").exit_code == 0
    made = [data for name, data in files().items() if name.endswith(".png")]
    assert len(set(made)) == 100


def test_of_a_run_folder_the_newest_network_is_taken(tmp_path):
    for kimg in ("000009.0", "000010.0"):
        save_tiny(tmp_path / "mine" / f"network-{kimg}.safetensors")
    told = run("--network", "mine", "--seeds", "0").stdout.splitlines()
    assert told == [
        "network mine/network-000010.0.safetensors: 16x16 RGB, 1.5 kimg",
        "wrote 1 png file and generate.json to out",
    ]


@pytest.mark.parametrize(("channels", "name"), [(1, "gray"), (3, "RGB"), (4, "RGBA")])
def test_the_kind_of_pictures_is_said_in_words(tmp_path, channels, name):
    network = save_tiny(tmp_path / "a.safetensors", channels=channels)
    assert f": 16x16 {name}, 1.5 kimg\n" in run("--network", network, "--seeds", "0").stdout


def test_files_that_are_there_are_replaced_and_others_stay(network):
    run("--network", network, "--seeds", "0,1")
    Path("out/mine.txt").write_text("mine")
    before = files()
    run("--network", network, "--seeds", "0", "--psi", "0.5")
    after = files()
    assert after.keys() == before.keys() and after["seed0001.png"] == before["seed0001.png"]
    assert after["seed0000.png"] != before["seed0000.png"]


def test_the_script_itself_starts_without_what_it_does_not_need(network):
    """As users start it; compilers, and the libraries of training and metrics, would only make them wait."""
    code = (
        "import sys, runpy; sys.argv = sys.argv[1:]; heavy = {'tensorboard', 'scipy', 'torch._dynamo', 'training'}\n"
        "try: runpy.run_path('generate.py', run_name='__main__')\n"
        "finally: print(sorted(heavy & set(sys.modules)))"
    )
    out = network.parent / "made here"
    arguments = ["--network", network, "--seeds", "0,1", "--outdir", out]
    told = subprocess.run(
        [sys.executable, "-c", code, "generate.py", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.splitlines()[-2:] == [f"wrote 2 png files and generate.json to {out}", "[]"]
    assert told.stderr == ""
    command = json.loads((out / "generate.json").read_text())["command"]
    assert shlex.split(command) == ["python", "generate.py", *map(str, arguments)]


def test_a_format_that_this_processor_is_slow_in_is_said(network, monkeypatch):
    monkeypatch.setattr(command, "slow_precision", lambda precision, device: f"{precision} is slow on a {device}")
    assert run("--network", network, "--seeds", "0").stdout.splitlines()[0] == "note: fp32 is slow on a cpu"


def test_a_mix_is_the_weighted_sum_of_the_seeds_first_numbers(network):
    first, second = (torch.from_numpy(np.random.RandomState(seed).randn(8)).float() for seed in (5, 7))
    assert torch.equal(MixedStream(((5, 2.0),)).normal(8), first)
    expected = (0.6 * first - 0.8 * second).double()
    assert torch.allclose(MixedStream(((5, 3.0), (7, -4.0))).normal(8).double(), expected, atol=1e-6)
    many = MixedStream(((5, 1.0), (7, 0.5), (9, -2.0))).normal(100_000)
    assert abs(float(many.std()) - 1) < 0.01
    drawn = [
        stream.generator("noise", torch.device("cpu")).initial_seed()
        for stream in (MixedStream(((5, 1.0), (7, 9.0))), SeedStream(5))
    ]
    assert drawn[0] == drawn[1]


def test_mix_makes_one_picture_between_seeds(network):
    run("--network", network, "--seeds", "5", "--outdir", "seeds")
    run("--network", network, "--mix", "5", "--outdir", "alone")
    run("--network", network, "--mix", "5:0.8,7:0.6", "--outdir", "mixed")
    assert files("alone")["mix0005.png"] == files("seeds")["seed0005.png"] != files("mixed")["mix0005.png"]
    options = json.loads(Path("mixed/generate.json").read_text())["options"]
    assert options["mix"] == [[5, 0.8], [7, 0.6]] and options["seeds"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--mix", "5:1,7", "--seeds", "3"], "--seeds does not apply with --mix, which names its seeds: leave it out"),
        (["--mix", "5:x"], "got 'x', expected weights from -1000 to 1000 such as 0.7"),
        (["--mix", "5-7:1"], "expected single seeds and their weights, such as 85:1,1789:0.5"),
        (["--mix", "5:0,7:0"], "the weights of all seeds are 0"),
        (["--mix", ""], "got '', expected seeds"),
    ],
)
def test_mixes_that_are_refused(network, words, said):
    result = run("--network", network, *words)
    assert result.exit_code == 2 and said in result.output
