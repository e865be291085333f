"""train.py when something is wrong: one sentence with the mend, exit code 2, and nothing damaged."""

from pathlib import Path

import pytest
import torch

from tests.commands import refused, run, tiny_sets, train_on, zipped
from torch_utils import runs as folders
from training.run import Run


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_broken_image_stops_the_run_and_is_named(tmp_path, workers):
    """Its header is whole, so it is met when it is decoded."""
    path = zipped(tmp_path / "faces.zip", broken=5)
    assert "img00000005.png" in refused(train_on(path, tmp_path, "--workers", workers))


BAD_DATA = {
    "missing": (lambda p: p / "nowhere.zip", "nowhere.zip"),
    "empty folder": (lambda p: (p / "empty").mkdir() or p / "empty", "no images"),
    "not a zip": (lambda p: (p / "a.zip").write_text("hello") and p / "a.zip", "a.zip"),
    "size 7": (lambda p: zipped(p / "seven.zip", size=7), "seven-6x6.zip --resolution 6x6`"),
    "wrong label": (lambda p: zipped(p / "l.zip", labels=[["00000/nobody.png", 0]]), "dataset.json"),
    "link to itself": (lambda p: (p / "x.zip").symlink_to("x.zip") or p / "x.zip", "x.zip"),
    "demo size": (lambda p: "demo:7", "size near it is 6x6: use --data demo:6x6"),
    "demo word": (lambda p: "demo:big", "'big' is not a size"),
}


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("names", "told"),
    [("fidd", "there is no metric 'fidd': "), ("swd5k,swd5k", "the metric swd5k is given twice: give it once")],
)
def test_metrics_that_there_are_not(names, told, dry, tmp_path):
    outdir = tmp_path / "runs"
    assert refused(run("--data", "demo:16", "--metrics", names, "--outdir", str(outdir), *dry)).startswith(told)
    assert not outdir.exists()


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
            "--precision fp16: on a CPU, float16 is hundreds of times slower",
        ),
        (["--precision", "tf32", "--device", "cpu"], "--precision tf32 needs a CUDA device"),
        (["--preset", "paper64"], "--preset"),
        (["--set", "loss.gama=3"], "loss.gamma"),
        (["--set", "loss.gamma"], "--set got 'loss.gamma', expected NAME=VALUE"),
        (["--set", "generator.w_dim=wide"], "--set generator.w_dim"),
        (["--resume", ""], "--resume is empty"),
        (["--set", "generator.height=64"], "--set generator.height comes from the data, where it is 32: leave it out"),
        (["--set", "generator.channel_max=100000000000"], "generator.channel_max"),
        (["--labels", "folders"], "the demo set has no sub-folders"),
        (["--resume", "latest"], "there is no run in"),
        (["--resume", "x", "--transfer", "y"], "--resume continues a run and --transfer starts a new one"),
        (["--freeze-d", "3"], "--freeze-d keeps layers of a trained D unchanged: give --transfer with it"),
        (["--transfer", "nothing.safetensors"], "there is no file or folder nothing.safetensors"),
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
    smaller = "smaller networks (--preset small) or smaller pictures"
    mend = f"try --batch-gpu auto, or a smaller --batch-gpu, or {smaller}, or --checkpoint-activations"
    assert sentence == f"out of memory with --batch-gpu 16: {mend}"


def test_divergence_ends_the_run_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("training.stylegan2.losses.generator_loss", lambda scores: scores * float("nan"))
    sentence = refused(run("--outdir", str(tmp_path), *tiny_sets(pace__kimg=0.06, pace__tick=0.05)))
    assert sentence.startswith("the gradients of Gmain were infinite or nan")


def test_a_full_disk_ends_the_run_and_spares_the_state(tmp_path, monkeypatch):
    """The second state does not fit: the first is still there, whole."""
    from training.state import read_state

    honest, states = Run.save_state, []

    def save_state(self, recipe):
        if states:
            monkeypatch.setattr("safetensors.torch.save_file", no_space)
        states.append(self.clock.seen)
        honest(self, recipe)

    def no_space(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Run, "save_state", save_state)
    sentence = refused(run("--outdir", str(tmp_path), *tiny_sets(pace__kimg=0.13)))
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
