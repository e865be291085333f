"""A full disk, a folder that may not be written, numbers that are none, data that change: what a run does about it."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from tests.commands import refused, run, tiny_sets, zipped
from tests.proofs.children import status_of
from tests.training.runs import resume, tiny, train
from torch_utils import checkpoint, runs
from training import plan as plans
from training import session
from training.run import Run
from training.state import read_state
from training.stylegan2 import losses as gan_losses
from training.stylegan2 import recipe as learner

QUIET = {"metrics": "none"}


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of its own, of a few megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may not mount a disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


def test_a_full_disk(small_disk, monkeypatch, ledger):
    """A sentence; what was there is whole; and with room again the run continues."""
    honest = Run.save_state

    def save_state(run: Run, recipe: Any) -> None:
        honest(run, recipe)
        if not (small_disk / "filler").exists():
            fill(small_disk)

    monkeypatch.setattr(Run, "save_state", save_state)
    length = {"pace__kimg": 0.1, "pace__snap": 1}
    result = run("--data", "demo:16", "--outdir", str(small_disk / "runs"), *tiny_sets(**QUIET, **length))
    refused(result)
    sentence = result.output.rpartition("\nError: ")[2].strip()  # the page of the run was not written either
    assert sentence.startswith("no space left to write") and sentence.endswith(": free some, then start again")
    (folder,) = (small_disk / "runs").iterdir()
    assert not list(folder.glob(".*.tmp"))
    assert read_state(runs.resolve(str(folder), small_disk)).clock.seen == 20
    for network in folder.glob("network-*"):
        checkpoint.load(network)  # whole, or not there
    (small_disk / "filler").unlink()
    (small_disk / "filler").mkdir()  # so that it is not filled again
    assert read_state(runs.resolve(str(resume(folder)), small_disk)).clock.seen == 100
    ledger.add("disk full in the middle of a run", 1, "one sentence; the state before is whole, and the run continues")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_folder_that_may_not_be_written(tmp_path, ledger):
    """As nobody where root runs the tests, whom nothing stops."""
    closed = tmp_path / "closed"
    closed.mkdir()
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    closed.chmod(0o555)

    def attempt() -> None:
        if os.getuid() == 0:
            os.setuid(65534)
        result = run("--outdir", str(closed / "runs"), *tiny_sets(**QUIET))
        assert refused(result).startswith(f"no permission for {closed / 'runs'}: choose another path"), result.output

    output = tmp_path / "said.txt"
    assert status_of(attempt, output) == 0, output.read_text()
    assert not list(closed.iterdir())
    ledger.add("folder that may not be written", 1, "one sentence, and nothing is begun")


def skipped(folder: Path) -> float:
    return json.loads((folder / "stats.jsonl").read_text().splitlines()[-1])["steps skipped"]


def finite(folder: Path) -> bool:
    tensors, _ = checkpoint.load(folder / "state.safetensors")
    return all(bool(tensor.isfinite().all()) for tensor in tensors.values() if tensor.is_floating_point())


def bad_once(honest: Any, at: int, value: float) -> Any:
    calls = iter(range(10**6))

    def loss(*arguments: Any) -> torch.Tensor:
        result = honest(*arguments)
        return result * value if next(calls) == at else result

    return loss


@pytest.mark.parametrize(
    "name, value",
    [
        ("generator_loss", float("inf")),
        *(
            (name, float("nan"))
            for name in ("generator_loss", "discriminator_real_loss", "gradient_penalty", "path_penalty")
        ),
    ],
)
def test_gradients_that_are_no_numbers_cost_one_step(tmp_path, monkeypatch, ledger, name, value):
    monkeypatch.setattr(gan_losses, name, bad_once(getattr(gan_losses, name), at=1, value=value))
    folder = train(tmp_path, pace__kimg=0.084)
    assert skipped(folder) == 1 and finite(folder)
    ledger.add(f"{value} in the gradients of {name.replace('_', ' ')}", 1, "one step is skipped and counted")


def test_data_that_are_no_numbers_cost_their_steps_and_end_a_run_that_has_no_others(tmp_path, ledger):
    """Pictures are bytes and hold no nan: it is put where they have become numbers."""
    honest, calls = learner.to_images, iter(range(10**6))

    def poisoned(pixels: torch.Tensor) -> torch.Tensor:
        images = honest(pixels)
        if next(calls) == 2:
            images[0, 0, 0, 0] = float("nan")
        return images

    with patch.object(learner, "to_images", poisoned):
        folder = train(tmp_path / "once", pace__kimg=0.06)
    assert skipped(folder) >= 1 and finite(folder)
    with patch.object(learner, "to_images", lambda pixels: honest(pixels) * float("nan")):
        sentence = refused(
            run("--outdir", str(tmp_path / "ever"), *tiny_sets(pace__kimg=0.2, pace__tick=0.05, **QUIET))
        )
    assert sentence.startswith("the gradients of Dmain were infinite or nan")
    ledger.add("nan in the data", 1, "the step is skipped and counted; ten in a row end the run with a sentence")


@pytest.fixture
def run_on_zip(tmp_path) -> tuple[Path, Path]:
    path = zipped(tmp_path / "faces.zip")
    given = tiny(data__path=str(path), pace__kimg=0.02)
    given.pop("data.max_images")
    folder = session.train(plans.begin(given, tmp_path / "runs"))
    assert folder is not None
    return folder, path


def test_changed_data_are_refused_unless_insisted_upon(run_on_zip, ledger):
    folder, path = run_on_zip
    zipped(path, count=12)
    with pytest.raises(ValueError, match=r"start a new run with --transfer, or insist with --changed-data$"):
        plans.resume(str(folder), {}, folder.parent)
    result = run("--resume", str(folder), "--changed-data", "--kimg", "0.04", "--metrics", "none")
    assert result.exit_code == 0, result.output
    said = (
        "the data have changed (8 images before, 12 now), and the run continues with them: from here it is another run"
    )
    assert said in (folder / "log.txt").read_text()
    assert read_state(runs.resolve(str(folder), folder.parent)).clock.seen == 40
    plans.resume(str(folder), {}, folder.parent)  # they are this run's data now
    ledger.add(
        "data changed between stop and resume", 1, "refused; with --changed-data the log says so, and it continues"
    )


LABELS = [[f"00000/img{i:08d}.png", i % 2] for i in range(8)]


@pytest.mark.parametrize("change", [{"size": 32}, {"mode": "L"}, {"labels": LABELS}], ids=str)
def test_other_shapes_and_classes_stay_refused(run_on_zip, change):
    folder, path = run_on_zip
    zipped(path, **change)
    with pytest.raises(ValueError, match="has another size, other channels or other classes than this run learned"):
        plans.resume(str(folder), {}, folder.parent, changed_data=True)


def test_the_flag_alone_is_refused(tmp_path):
    sentence = refused(run("--changed-data", "--outdir", str(tmp_path)))
    assert sentence == "--changed-data needs --resume: leave it out to start a new run"
