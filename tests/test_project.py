import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import generate
import project
from imaging.pixels import from_pil, psnr
from models.families import read_network
from sampling import command
from sampling.stylegan2.projection import Search
from tests.networks import ON_CPU, save_tiny

SHORT = ["--steps", "4", "--film", "none"]


@pytest.fixture
def network(tmp_path):
    return save_tiny(tmp_path / "network.safetensors")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A working directory without runs, and no bundled network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "BUNDLED", tmp_path / "assets" / "none.safetensors")


@pytest.fixture
def photos(tmp_path):
    """A folder of two pictures, one of them larger and gray."""
    folder = tmp_path / "photos"
    folder.mkdir()
    values = np.random.RandomState(0).randint(0, 256, [40, 32, 3]).astype(np.uint8)
    Image.fromarray(values[:16, :16]).save(folder / "a.png")
    Image.fromarray(values[..., 0]).save(folder / "b.png")
    return "photos"


def run(*arguments, script=project):
    result = CliRunner().invoke(script.main, [*map(str, arguments), *ON_CPU], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def files(folder="out"):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def pixels(path):
    return torch.from_numpy(from_pil(Image.open(path)))


def test_all_files_of_a_projection(network, photos):
    result = run("--network", network, "--target", photos, "--steps", 3, "--film", "film.gif")
    told = result.stdout.splitlines()
    assert told[:3] == [
        f"network {network}: 16x16 RGB, 1.5 kimg",
        "2 targets; loss pixels: pixels and gradients at several sizes",
        "photos/b.png: gray made RGB; its middle cut out and reduced from 32x40 to 16x16",
    ]
    assert [line.split(" dB")[0].rpartition(" ")[0] for line in told[3:5]] == [
        "photos/a.png: projected",
        "photos/b.png: projected",
    ]
    assert told[5:] == ["wrote projected-w.npz, 2 pictures, projection.png, film.gif and project.json to out"]
    names = ["film.gif", "project.json", "projected-w.npz", "projected0000.png", "projected0001.png", "projection.png"]
    assert sorted(files()) == names
    arrays = np.load("out/projected-w.npz")
    assert arrays["w"].shape == (2, 6, 8) and arrays["w"].dtype == np.float32
    assert arrays["noise4"].shape == (2, 1, 16, 16)
    with Image.open("out/film.gif") as film:
        assert film.n_frames == 3 and film.size == (32, 32)  # a pair for each target
    assert Image.open("out/projection.png").width > 32


def test_of_many_targets_the_count_and_the_time_are_told_first(network, monkeypatch):
    """A thousand pictures take days: that is said before anything is computed, and in a few lines."""
    Path("many").mkdir()
    for n in range(13):
        Image.new("RGB", (20, 16), (n, 0, 0)).save(f"many/{n:02d}.png")
    monkeypatch.setattr(Search, "seconds_per_step", lambda self: 50_000.0)
    result = run("--network", network, "--target", "many", "--steps", 2, "--pti", "--pti-steps", 3, "--batch", 4)
    told = result.stdout.splitlines()
    assert told[1] == "13 targets in batches of 4; loss pixels: pixels and gradients at several sizes"
    assert told[2:13] == [
        *(f"many/{n:02d}.png: its middle cut out and reduced from 20x16 to 16x16" for n in range(10)),
        "... and 3 more targets were made to fit; project.json lists them all",
    ]
    assert told[13] == (
        "about 12 days on this cpu (20 steps of a batch); fewer targets or --steps, or a GPU, take less"
    )
    assert told[-2] == "... and 3 more, in project.json" and len(told) == 14 + 10 + 2
    targets = json.loads(Path("out/project.json").read_text())["targets"]
    assert len(targets) == 13 and all(target["changes"] for target in targets)


def test_the_record_says_what_was_found(network, photos):
    run("--network", network, "--target", photos, *SHORT, "--space", "w", "--seed", 3)
    record = json.loads(Path("out/project.json").read_text())
    assert record["command"].startswith("python project.py")
    assert (record["network"], record["kimg"], record["loss"]) == (str(network), 1.5, "pixels")
    assert record["options"] == {
        "target": ["photos"],
        "network": str(network),
        "class": None,
        "outdir": "out",
        "device": "cpu",
        "precision": "fp32",
        "batch": 8,
        "space": "w",
        "steps": 4,
        "rate": 0.1,
        "noise-mode": "fit",
        "loss": "auto",
        "detector": [],
        "trust": False,
        "seed": 3,
        "pti": False,
        "pti-steps": 350,
        "locality": 0.0,
        "film": "none",
    }
    first, second = record["targets"]
    assert set(first) == {"target", "changes", "class", "projected_loss", "projected_psnr"}
    assert (first["target"], first["changes"], first["class"]) == ("photos/a.png", [], None)
    assert second["changes"] == ["gray made RGB", "its middle cut out and reduced from 32x40 to 16x16"]
    expected = float(psnr(pixels("out/projected0000.png")[None], pixels("photos/a.png")[None]))
    assert first["projected_psnr"] == round(expected, 2)


@pytest.mark.parametrize(
    ("noise_mode", "flag"), [("fit", "--latents"), ("const", "--projected-w"), ("none", "--projected_w")]
)
def test_generate_makes_the_very_pictures(network, photos, noise_mode, flag):
    run("--network", network, "--target", photos, *SHORT, "--noise-mode", noise_mode)
    mode = ["--noise-mode", "none"] if noise_mode == "none" else []
    options = ["--network", network, flag, "out/projected-w.npz", "--outdir", "again", "--grid", *mode]
    told = run(*options, script=generate).stdout.splitlines()
    assert told[-1] == "wrote 2 png files, grid.png and generate.json to again"
    assert sorted(files("again")) == ["generate.json", "grid.png", "latent0000.png", "latent0001.png"]
    for n in range(2):
        assert files("again")[f"latent000{n}.png"] == files()[f"projected000{n}.png"]
    record = json.loads(Path("again/generate.json").read_text())["options"]
    assert (record["latents"], record["seeds"]) == ("out/projected-w.npz", None)


def test_latents_are_truncated_as_seeds_are(network, photos):
    run("--network", network, "--target", photos, *SHORT, "--noise-mode", "const")
    common = ["--network", network, "--latents", "out/projected-w.npz"]
    run(*common, "--psi", "0", "--outdir", "latents", script=generate)
    run("--network", network, "--seeds", "0", "--psi", "0", "--outdir", "seeds", script=generate)
    assert files("latents")["latent0001.png"] == files("seeds")["seed0000.png"]
    run(*common, "--psi", "0", "--psi-cutoff", "0", "--outdir", "kept", script=generate)
    assert files("kept")["latent0001.png"] == files()["projected0001.png"]


def test_random_noise_takes_the_place_of_the_fitted(network, photos):
    run("--network", network, "--target", photos, *SHORT)
    for outdir in ("one", "two"):
        options = ["--latents", "out/projected-w.npz", "--noise-mode", "random", "--outdir", outdir]
        run("--network", network, *options, script=generate)
    assert files("one")["latent0000.png"] == files("two")["latent0000.png"] != files()["projected0000.png"]


def test_a_tuned_network_comes_nearer_and_is_a_network(network, photos):
    before = network.read_bytes()
    run("--network", network, "--target", photos, *SHORT, "--pti", "--pti-steps", 12, "--locality", 0.1)
    assert network.read_bytes() == before
    record = json.loads(Path("out/project.json").read_text())
    for target in record["targets"]:
        assert target["tuned_loss"] < target["projected_loss"] and target["tuned_psnr"] > target["projected_psnr"]
    tuned = read_network("out/network-tuned.safetensors")
    assert tuned.parts == ["G_ema"] and tuned.metadata["kimg"] == 1.5
    assert tuned.metadata["tuned"] == {"from": str(network), "steps": 12, "targets": 2}
    options = ["--network", "out/network-tuned.safetensors", "--latents", "out/projected-w.npz", "--outdir", "again"]
    run(*options, script=generate)
    for n in range(2):
        assert files("again")[f"latent000{n}.png"] == files()[f"tuned000{n}.png"]


def test_the_same_command_writes_the_same_bytes(network, photos):
    common = ["--network", network, "--target", photos, "--steps", 3, "--film", "film.webp"]
    common += ["--pti", "--pti-steps", 2, "--locality", 1]
    made = []
    for _ in range(2):
        run(*common)
        made.append(files())
    assert made[0] == made[1] and len(made[0]) == 9


def test_batches_change_nothing_but_rounding(network, photos):
    for batch in (1, 2):
        run("--network", network, "--target", photos, *SHORT, "--batch", batch, "--outdir", batch)
    one, two = (np.load(f"{batch}/projected-w.npz") for batch in (1, 2))
    for name in one.files:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-3, atol=1e-3)


def test_classes_to_start_from(tmp_path, photos):
    network = save_tiny(tmp_path / "a.safetensors", classes=2, class_names=("cat", "dog"))
    told = run("--network", network, "--target", photos, *SHORT, "--outdir", "any").stdout
    assert "seed mod" not in told
    record = json.loads(Path("any/project.json").read_text())
    assert {target["class"] for target in record["targets"]} <= {0, 1}
    told = run("--network", network, "--target", photos, *SHORT, "--class", "dog").stdout
    assert "class: 1 dog" in told.splitlines()
    assert [target["class"] for target in json.loads(Path("out/project.json").read_text())["targets"]] == [1, 1]
    run("--network", network, "--latents", "out/projected-w.npz", "--outdir", "again", script=generate)
    assert files("again")["latent0000.png"] == files()["projected0000.png"]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (4, "RGBA")])
def test_networks_of_other_channels(tmp_path, photos, channels, mode):
    network = save_tiny(tmp_path / "a.safetensors", channels=channels)
    run("--network", network, "--target", photos, *SHORT, "--film", "frames")
    assert Image.open("out/projected0000.png").mode == mode
    assert sorted(files("out/frames")) == [f"frame00000{n}.png" for n in range(4)]
