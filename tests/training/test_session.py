"""How a run begins and ends: alone in its folder, without holding what it loaded, and naming only files that exist."""

import errno
import gc
import os
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from PIL import Image

from models.families import read_network
from tests.commands import refused, run, tiny_sets
from tests.training.runs import resume, tiny, train
from torch_utils import runs
from training import plan as plans
from training import run as loop
from training import session


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_folder_without_locks_is_trained_in_with_a_note(tmp_path, monkeypatch, number):
    def none(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", none)
    folder = train(tmp_path, pace__kimg=0.02)
    note = f"the disk of {folder} has no locks: make sure that no other process trains there"
    assert note in (folder / "log.txt").read_text().splitlines()
    assert runs.newest_in(folder)


def test_a_run_in_use_is_left_alone(tmp_path):
    folder = train(tmp_path, stop_at=2)
    with FileLock(folder / ".lock"), pytest.raises(ValueError, match="is being trained by another process: wait"):
        resume(folder)


def watched(monkeypatch: pytest.MonkeyPatch, look: Any) -> None:
    """Calls `look` once, in the third step from now on."""
    honest, steps = loop.step, []

    def step(*arguments: Any) -> None:
        steps.append(1)
        if len(steps) == 3:
            gc.collect()
            look()
        honest(*arguments)

    monkeypatch.setattr(loop, "step", step)


def test_a_resumed_run_lets_go_of_the_state_and_its_file(tmp_path, monkeypatch):
    folder = train(tmp_path, stop_at=6)
    plan = plans.resume(str(folder), {"pace.kimg": 0.06}, tmp_path)
    assert plan.state is not None and plan.folder
    held = [weakref.ref(plan.state)]
    seen: list[bool] = []

    def look() -> None:
        maps = Path("/proc/self/maps")
        mapped = maps.exists() and str(folder) in maps.read_text()
        seen.append(held[0]() is None and plan.state is None and not mapped)

    watched(monkeypatch, look)
    session.train(plan)
    assert seen == [True]


def test_transfer_lets_go_of_the_network(tmp_path, monkeypatch):
    network = runs.newest_in(train(tmp_path, pace__kimg=0.02))
    plan = plans.begin(tiny(pace__kimg=0.02), tmp_path, network)
    held, seen = weakref.ref(plan.network), []
    watched(monkeypatch, lambda: seen.append(held() is None))
    session.train(plan)
    assert seen == [True]


def test_light_files_keep_what_makes_pictures(tmp_path):
    """In half precision; the state keeps everything, so the run resumes, and with full files if they are wanted."""
    folder = train(tmp_path, stop_at=5, pace__kimg=0.04, pace__light_files=True, pace__sheet=12, pace__snap=1)
    light = read_network(folder)
    assert light.parts == ["G_ema"] and {t.dtype for t in light.tensors.values()} == {torch.float16}
    assert Image.open(runs.samples_path(folder, 0)).size == (12 * 16, 16)
    full = read_network(resume(folder, pace__light_files=False))
    assert full.parts == ["G_ema", "G", "D"] and {t.dtype for t in full.tensors.values()} == {torch.float32}


def test_less_than_an_image_is_refused(tmp_path):
    sentence = refused(run("--outdir", str(tmp_path / "runs"), "--kimg", "0.0004", *tiny_sets()))
    assert sentence == "--kimg 0.0004 is less than one image: give 0.001 or more"
    assert not (tmp_path / "runs").exists()


def test_the_end_names_a_network_that_is_there(tmp_path, capsys):
    """The last one of a run that was cut short between snapshots, of a finished one its own, or none."""
    done = "done; make pictures with: python generate.py --network {}\n"
    folder = train(tmp_path, stop_at=18, pace__kimg=0.2, metrics="none")
    resume(folder, pace__kimg=0.05)
    network = runs.newest_in(folder)
    assert network is not None and network.name == "network-000000.0.safetensors"
    assert capsys.readouterr().out.endswith(done.format(network))
    resume(folder, pace__kimg=0.12)
    newest = runs.newest_in(folder)
    assert newest is not None and newest.name == "network-000000.1.safetensors"
    assert capsys.readouterr().out.endswith(done.format(newest))
    for path in folder.glob("network-*"):
        path.unlink()
    resume(folder)
    assert capsys.readouterr().out.endswith("\ndone\n")


def test_tables_go_to_the_log_and_the_terminal_says_what_matters(tmp_path, capsys):
    folder = train(tmp_path, pace__kimg=0.02)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 15
    assert lines[0] == "40 images 16x16, 3 channels, 5 classes: demo16"
    assert f"files go to {folder}; its log.txt lists all settings and layers" in lines
    log = (folder / "log.txt").read_text()
    assert "channel_base" in log and "mapping.layers.0" in log
