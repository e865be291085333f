"""train.py as a person meets it: its files, its help, transfer, and finding the way back to a run."""

import json
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from PIL import Image

from models.families import load_network, read_network
from tests.commands import refused, run, tiny_sets, train_on, zipped
from tests.training import runs
from torch_utils import runs as folders
from torch_utils.cli import counted


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    return runs.train(tmp_path_factory.mktemp("runs"), pace__kimg=0.1)


def test_a_run_writes_its_files(finished):
    names = {path.name for path in finished.iterdir()}
    assert {
        "config.json",
        "log.txt",
        "stats.jsonl",
        "reals.png",
        "fakes-000000.0.png",
        "fakes-000000.1.png",
        "network-000000.1.safetensors",
        "state.safetensors",
    } <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert finished.name == "00000-demo16-demo"
    config = json.loads((finished / "config.json").read_text())
    assert config["loss"]["gamma"] == 10.0 and config["pace"]["batch"] == 4
    assert Image.open(finished / "fakes-000000.1.png").size == (16 * 16, 16 * 16)
    width, height = Image.open(finished / "reals.png").size
    assert height == 16 * 16 and width > 16 * 16 + 20, "names of classes before the rows"


def test_the_statistics_hold_what_a_person_wants_to_plot(finished):
    first, *_, last = [json.loads(line) for line in (finished / "stats.jsonl").read_text().splitlines()]
    assert [first["seen"], last["seen"]] == [20, 100]
    wanted = {"loss/G", "loss/D fake", "loss/D real", "loss/D r1", "scores/real", "signs/real", "gradients/Gmain"}
    assert wanted <= first.keys()
    assert {"learning rate/Gmain", "timing/images per second", "timing/data", "memory/peak bytes"} <= first.keys()
    assert first["loss/G"].keys() == {"mean", "std", "count"}


def test_the_network_file_opens_and_carries_its_history(finished):
    path = finished / "network-000000.1.safetensors"
    file = read_network(path)
    assert file.parts == ["G_ema", "G", "D"]
    assert file.metadata["kimg"] == 0.1 and len(file.metadata["data"]["class_names"]) == 5
    assert file.metadata["training"]["generator"]["w_dim"] == 8
    G = load_network(path)
    images = G(torch.randn(2, 8), torch.eye(5)[:2], truncation_psi=0.7, noise_mode="const")
    assert images.shape == (2, 3, 16, 16) and images.isfinite().all()


def test_dry_run_prints_everything_and_writes_nothing(tmp_path):
    result = run("--data", "demo:32", "--gamma", "7", "--outdir", str(tmp_path / "runs"), "--dry-run")
    assert result.exit_code == 0, result.output
    assert "gamma" in result.output and "7" in result.output and "--set loss.mixing" in result.output
    assert "Generator" in result.output and "Discriminator" in result.output and "total" in result.output
    assert not (tmp_path / "runs").exists()


def test_the_help_groups_options_and_shows_examples():
    text = run("--help").output
    for part in ("Data:", "Training:", "Machine:", "Output:", "Examples:", "--gamma", "--batch-gpu", "--resume"):
        assert part in text


def test_transfer_takes_the_weights_and_starts_anew(finished, tmp_path):
    network = finished / "network-000000.1.safetensors"
    arguments = [
        "--data",
        "demo:16",
        "--outdir",
        str(tmp_path),
        "--transfer",
        str(network),
        *tiny_sets(pace__kimg=0.004),
    ]
    result = run(*arguments, "--set=optimizer.g_lr=1e-12", "--set=optimizer.d_lr=1e-12")
    assert result.exit_code == 0, result.output
    assert f"took G_ema, G, D from {network}" in result.output
    (folder,) = tmp_path.iterdir()
    new, old = read_network(next(folder.glob("network-*"))), read_network(network)
    assert new.metadata["kimg"] == 0.004
    assert new.metadata["training"]["augment"]["ada_kimg"] == 100  # D may know the images soon
    for key in old.tensors:
        if not key.startswith("G_ema") and "w_average" not in key:
            torch.testing.assert_close(new.tensors[key], old.tensors[key], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "change, blame",
    [
        (["--data", "demo:24x16"], "doublings of 4x4, and images of 24x16 of 6x4: crop or pad the images"),
        (
            ["--data", "demo:16", "--set=generator.w_dim=4"],
            "its generator.w_dim is 8, but this run has 4: use --set generator.w_dim=8",
        ),
        (
            ["--data", "demo:32", "--set=discriminator.channel_base=64"],
            "its discriminator.channel_base is 128, but this run has 64",
        ),
        (["--data", "demo:32", "--freeze-d", "2"], "--freeze-d would freeze layers that start anew"),
        (["--data", "demo:16", "--freeze-d", "8"], "--freeze-d 8 is more than the 7 layers of D before its last ones"),
    ],
)
def test_transfer_says_which_option_is_to_blame(finished, tmp_path, change, blame):
    given = {arg.split("=")[1] for arg in change if arg.startswith("--set=")}
    sets = [text for text in tiny_sets() if text.removeprefix("--set=").split("=")[0] not in given]
    network = finished / "network-000000.1.safetensors"
    assert blame in refused(run("--outdir", str(tmp_path), "--transfer", str(network), *sets, *change))
    assert not list(tmp_path.iterdir())


def test_transfer_says_all_that_differs_as_one_line_to_paste(finished, tmp_path):
    words = [
        "--outdir",
        str(tmp_path),
        "--data",
        "demo:16",
        "--transfer",
        str(finished),
        "--kimg",
        "0.004",
        "--dry-run",
    ]
    said, flags = refused(run(*words)).split(": use ")
    assert "but this run has" in said and len(flags.split("--set ")) > 4
    assert run(*words, *flags.split()).exit_code == 0


def test_transfer_to_larger_images_without_classes(finished, tmp_path):
    """The blocks of both sizes are taken, and the log says what starts anew."""
    network = finished / "network-000000.1.safetensors"
    sets = tiny_sets(pace__kimg=0.004)
    options = ["--data", "demo:32", "--labels", "none", "--outdir", str(tmp_path), "--transfer", str(network)]
    result = run(*options, *sets)
    assert result.exit_code == 0, result.output
    what = "images of 32x32 instead of 16x16 and no classes instead of 5"
    assert f"took G_ema, G, D from {network}; for {what}, what has no counterpart starts anew" in result.output


def test_freeze_d_keeps_the_layers_of_the_network_it_starts_from(finished, tmp_path):
    network = finished / "network-000000.1.safetensors"
    options = ["--data", "demo:16", "--outdir", str(tmp_path), "--transfer", str(network), "--freeze-d", "4"]
    result = run(*options, *tiny_sets(pace__kimg=0.016))
    assert result.exit_code == 0, result.output
    (folder,) = tmp_path.iterdir()
    new, old = read_network(next(folder.glob("network-*"))).tensors, read_network(network).tensors
    same = {key for key in old if key.startswith("D.") and torch.equal(new[key], old[key])}
    assert same == {key for key in old if key.startswith(("D.from_rgb.", "D.blocks.0."))}


def test_a_labeled_zip_trains_by_class_and_says_so(tmp_path):
    labels = [[f"00000/img{i:08d}.png", i % 2] for i in range(8)]
    result = train_on(zipped(tmp_path / "faces.zip", labels=labels), tmp_path, "--mirror", "--workers", "1")
    assert result.exit_code == 0, result.output
    assert "16 images 16x16, 3 channels, 2 classes: faces" in result.output and "dataset.json" in result.output


@pytest.mark.parametrize("mode, channels", [("L", 1), ("RGBA", 4)])
def test_gray_and_transparent_images(tmp_path, mode, channels):
    result = train_on(zipped(tmp_path / "x.zip", mode=mode), tmp_path)
    assert result.exit_code == 0, result.output
    assert f"{counted(channels, 'channel')}, no classes" in result.output
    (folder,) = (tmp_path / "runs").iterdir()
    assert Image.open(folder / "fakes-000000.0.png").mode == mode


def test_resume_finds_data_that_were_moved(tmp_path):
    path = zipped(tmp_path / "faces.zip")
    assert train_on(path, tmp_path).exit_code == 0
    moved = path.rename(tmp_path / "moved.zip")
    again = ["--resume", "latest", "--outdir", str(tmp_path / "runs"), "--kimg", "0.04"]
    assert refused(run(*again)).endswith("faces.zip: say where with --data")
    result = run(*again, "--data", str(moved))
    assert result.exit_code == 0, result.output
    assert "resumed at kimg 0.020" in result.output


def test_a_start_that_failed_leaves_no_folder_and_the_latest_is_that_before(tmp_path):
    path = zipped(tmp_path / "faces.zip")
    assert train_on(path, tmp_path).exit_code == 0
    assert "img00000002.png" in refused(train_on(zipped(tmp_path / "broken.zip", broken=2), tmp_path))
    assert [folder.name for folder in (tmp_path / "runs").iterdir()] == ["00000-faces-demo"]
    result = run("--resume", "latest", "--outdir", str(tmp_path / "runs"), "--kimg", "0.04")
    assert result.exit_code == 0 and "00000-faces-demo" in result.output


def test_a_broken_image_costs_nothing_of_what_was_learned(tmp_path):
    """Met in the middle of a run, it ends the run after the state was saved."""
    from training.state import read_state

    path = zipped(tmp_path / "faces.zip", count=400, broken=390)  # not among the first that are shown as reals
    sentence = refused(train_on(path, tmp_path, pace__kimg=1, pace__snap=100))
    assert "img00000390.png" in sentence
    (folder,) = (tmp_path / "runs").iterdir()
    clock = read_state(folders.resolve(str(folder), tmp_path)).clock
    assert clock.seen == 4 * clock.iteration > 0


def test_a_run_is_trained_by_one_process_at_a_time(finished):
    with FileLock(finished / ".lock"):
        sentence = refused(run("--resume", str(finished), "--kimg", "1"))
    assert sentence.endswith("is being trained by another process: wait, or start another run")


def test_the_end_of_a_finished_run_is_said(finished):
    result = run("--resume", str(finished))
    assert result.exit_code == 0
    assert "that is the end that --kimg 0.1 sets: give a larger one to go on" in result.output
