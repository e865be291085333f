"""train.py as a person meets it: its files, its help, and its sentences when something is wrong."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from filelock import FileLock
from PIL import Image

import train
from models.families import load_network, read_network
from tests.training import runs
from tests.training.runs import tiny
from torch_utils import runs as folders
from training.run import Run


def run(*arguments: str) -> Result:
    return CliRunner().invoke(train.main, arguments, prog_name="train.py")


def tiny_sets(**more) -> list[str]:
    return [f"--set={name}={value}" for name, value in tiny(**more).items() if not name.startswith("data.")]


def refused(result: Result) -> str:
    """The sentence of a refusal: exit code 2, no traceback."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.output.split("Error: ", 1)[1].strip()


def picture(size: int = 16, value: int = 0, mode: str = "RGB") -> Image.Image:
    return Image.fromarray(np.full([size, size, 3], value, np.uint8)).convert(mode)


def zipped(path: Path, count: int = 8, labels: list | None = None, broken: int | None = None, **more) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(count):
            buffer = io.BytesIO()
            picture(value=i * 20 % 256, **more).save(buffer, "PNG")
            data = buffer.getvalue()
            archive.writestr(f"00000/img{i:08d}.png", data[:50] if i == broken else data)
        if labels is not None:
            archive.writestr("dataset.json", json.dumps({"labels": labels}))
    return path


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
    for name in ("reals.png", "fakes-000000.1.png"):
        assert Image.open(finished / name).size == (16 * 16, 16 * 16)


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
    for key in old.tensors:
        if not key.startswith("G_ema") and "w_average" not in key:
            torch.testing.assert_close(new.tensors[key], old.tensors[key], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "change, blame",
    [
        (
            ["--data", "demo:32"],
            "generator.height 16, but this run has 32: convert the data with dataset_tool.py --resolution 16x16",
        ),
        (
            ["--data", "demo:16", "--labels", "none"],
            "generator.classes 5, but this run has 0: give data with 5 classes, see --labels",
        ),
        (
            ["--data", "demo:16", "--set=generator.w_dim=4"],
            "generator.w_dim 8, but this run has 4: use --set generator.w_dim=8",
        ),
        (
            ["--data", "demo:16", "--set=discriminator.channel_base=64"],
            "discriminator.channel_base 128, but this run has 64",
        ),
    ],
)
def test_transfer_says_which_option_is_to_blame(finished, tmp_path, change, blame):
    given = {arg.split("=")[1] for arg in change if arg.startswith("--set=")}
    sets = [text for text in tiny_sets() if text.removeprefix("--set=").split("=")[0] not in given]
    network = finished / "network-000000.1.safetensors"
    assert blame in refused(run("--outdir", str(tmp_path), "--transfer", str(network), *sets, *change))
    assert not list(tmp_path.iterdir())


def train_on(path: Path, tmp_path: Path, *more: str, **settings) -> Result:
    sets = tiny_sets(**{"pace__kimg": 0.02, **settings})
    return run("--data", str(path), "--outdir", str(tmp_path / "runs"), *sets, *more)


def test_a_labelled_zip_trains_by_class_and_says_so(tmp_path):
    labels = [[f"00000/img{i:08d}.png", i % 2] for i in range(8)]
    result = train_on(zipped(tmp_path / "faces.zip", labels=labels), tmp_path, "--mirror", "--workers", "1")
    assert result.exit_code == 0, result.output
    assert "16 images 16x16, 3 channels, 2 classes: faces" in result.output and "dataset.json" in result.output


@pytest.mark.parametrize("mode, channels", [("L", 1), ("RGBA", 4)])
def test_grey_and_transparent_images(tmp_path, mode, channels):
    result = train_on(zipped(tmp_path / "x.zip", mode=mode), tmp_path)
    assert result.exit_code == 0, result.output
    assert f"{channels} channels, no classes" in result.output
    (folder,) = (tmp_path / "runs").iterdir()
    assert Image.open(folder / "fakes-000000.0.png").mode == mode


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_broken_image_stops_the_run_and_is_named(tmp_path, workers):
    """Its header is whole, so it is met when it is decoded."""
    path = zipped(tmp_path / "faces.zip", broken=5)
    assert "img00000005.png" in refused(train_on(path, tmp_path, "--workers", workers))


BAD_DATA = {
    "missing": (lambda p: p / "nowhere.zip", "nowhere.zip"),
    "empty folder": (lambda p: (p / "empty").mkdir() or p / "empty", "no images"),
    "not a zip": (lambda p: (p / "a.zip").write_text("hello") and p / "a.zip", "a.zip"),
    "size 7": (lambda p: zipped(p / "seven.zip", size=7), "7x7"),
    "wrong label": (lambda p: zipped(p / "l.zip", labels=[["00000/nobody.png", 0]]), "dataset.json"),
    "demo size": (lambda p: "demo:7", "7x7"),
    "demo word": (lambda p: "demo:big", "'big' is not a size"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_refused_before_anything_is_written(case, tmp_path):
    make, named = BAD_DATA[case]
    assert named in refused(train_on(make(tmp_path), tmp_path))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--batch", "10", "--batch-gpu", "4"], "--batch-gpu 4 does not divide"),
        (["--batch", "0"], "--batch"),
        (["--gamma", "nan"], "--gamma"),
        (["--gamma", "-1"], "--gamma"),
        (["--kimg", "many"], "--kimg"),
        (
            ["--precision", "fp16", "--device", "cpu"],
            "--precision fp16: a CPU computes float16 hundreds of times slower",
        ),
        (["--precision", "tf32", "--device", "cpu"], "--precision tf32: only CUDA devices know it"),
        (["--preset", "paper64"], "--preset"),
        (["--set", "loss.gama=3"], "loss.gamma"),
        (["--set", "loss.gamma"], "--set got 'loss.gamma', wanted NAME=VALUE"),
        (["--set", "generator.w_dim=wide"], "--set generator.w_dim"),
        (["--resume", ""], "--resume is empty"),
        (["--set", "generator.height=64"], "--set generator.height comes from the data, where it is 32: leave it out"),
        (["--set", "generator.channel_max=100000000000"], "generator.channel_max"),
        (["--labels", "folders"], "the demo set has no sub-folders"),
        (["--resume", "latest"], "there is no run in"),
        (["--resume", "x", "--transfer", "y"], "--resume goes on with a run and --transfer starts a new one"),
        (["--transfer", "nothing.safetensors"], "there is no file nothing.safetensors"),
        (["--max-images", "-3"], "--max-images"),
    ],
)
def test_options_that_make_no_sense(tmp_path, arguments, sentence):
    assert sentence in refused(run("--outdir", str(tmp_path), *arguments))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there():
    assert "--device cuda: this PyTorch" in refused(run("--device", "cuda"))


def test_out_of_memory_names_the_next_batch_gpu(tmp_path, monkeypatch):
    def fail(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr("training.session.fit", fail)
    sentence = refused(run("--outdir", str(tmp_path), *tiny_sets(pace__batch=16, discriminator__mbstd_group=4)))
    assert sentence == "out of memory with --batch-gpu 16: try --batch-gpu 8"


def test_divergence_ends_the_run_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("training.gan_losses.generator_loss", lambda scores: scores * float("nan"))
    sentence = refused(run("--outdir", str(tmp_path), *tiny_sets(pace__kimg=0.2, pace__tick=0.05)))
    assert sentence.startswith("the gradients of Gmain were infinite or nan")


def test_a_full_disk_ends_the_run_and_spares_the_state(tmp_path, monkeypatch):
    """The second state does not fit: the first is still there, whole."""
    from training.run import read_state

    honest, states = Run.save_state, []

    def save_state(self, recipe):
        if states:
            monkeypatch.setattr("torch_utils.checkpoint.save_file", no_space)
        states.append(self.clock.seen)
        honest(self, recipe)

    def no_space(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Run, "save_state", save_state)
    sentence = refused(run("--outdir", str(tmp_path), *tiny_sets(pace__kimg=0.2)))
    assert sentence.startswith("no space left to write")
    (folder,) = tmp_path.iterdir()
    assert not list(folder.glob("*.tmp")) and not list(folder.glob(".*.tmp"))
    assert read_state(folders.resolve(str(folder), tmp_path)).clock.seen == states[0]


def test_resume_refuses_other_data(tmp_path):
    path = zipped(tmp_path / "faces.zip")
    assert train_on(path, tmp_path).exit_code == 0
    zipped(path, count=9)
    sentence = refused(run("--resume", "latest", "--outdir", str(tmp_path / "runs"), "--kimg", "1"))
    assert "faces.zip has changed since this run was stopped" in sentence


def test_resume_finds_data_that_were_moved(tmp_path):
    path = zipped(tmp_path / "faces.zip")
    assert train_on(path, tmp_path).exit_code == 0
    moved = path.rename(tmp_path / "moved.zip")
    again = ["--resume", "latest", "--outdir", str(tmp_path / "runs"), "--kimg", "0.04"]
    assert refused(run(*again)).endswith("faces.zip: say where with --data")
    result = run(*again, "--data", str(moved))
    assert result.exit_code == 0, result.output
    assert "resumed at kimg 0.020" in result.output


def test_resume_latest_passes_over_starts_that_failed(tmp_path):
    path = zipped(tmp_path / "faces.zip")
    assert train_on(path, tmp_path).exit_code == 0
    failed = train_on(zipped(tmp_path / "broken.zip", broken=2), tmp_path)
    sentence = refused(failed)
    assert sentence in (tmp_path / "runs" / "00001-broken-demo" / "log.txt").read_text()
    result = run("--resume", "latest", "--outdir", str(tmp_path / "runs"), "--kimg", "0.04")
    assert result.exit_code == 0 and "00000-faces-demo" in result.output


def test_a_broken_image_costs_nothing_of_what_was_learned(tmp_path):
    """Met in the middle of a run, it ends the run after the state was saved."""
    from training.run import read_state

    path = zipped(tmp_path / "faces.zip", count=400, broken=390)  # not among the first that are shown as reals
    sentence = refused(train_on(path, tmp_path, pace__kimg=1, pace__snap=100))
    assert "img00000390.png" in sentence
    (folder,) = (tmp_path / "runs").iterdir()
    clock = read_state(folders.resolve(str(folder), tmp_path)).clock
    assert clock.seen == 4 * clock.iteration > 0


def test_a_run_is_trained_by_one_process_at_a_time(finished):
    with FileLock(finished / ".lock"):
        sentence = refused(run("--resume", str(finished), "--kimg", "1"))
    assert sentence.endswith("is being trained by another process: wait for it, or start another run")


def test_the_end_of_a_finished_run_is_said(finished):
    result = run("--resume", str(finished))
    assert result.exit_code == 0
    assert "that is the end that --kimg 0.1 sets: give a larger one to go on" in result.output
