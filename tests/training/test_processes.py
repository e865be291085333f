"""Several processes learn what one process learns from the same total batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.runs import tiny
from tests.training.test_resume import assert_equal_runs
from torch_utils import checkpoint

# Noise is drawn by each process for itself, and groups of the minibatch statistics do not span processes.
# With a learning rate of next to nothing the weights stay, and Adam's memory holds the gradients themselves.
COMPARABLE = {
    "loss__noise": "none",
    "loss__path_shrink": 1,
    "discriminator__mbstd_group": 1,
    "optimizer__g_lr": 1e-12,
    "optimizer__d_lr": 1e-12,
    "augment__mode": "ada",
    "augment__p": 0.5,
    "augment__ada_kimg": 0.2,
    "augment__pipe": "bgcfnc",
    "pace__kimg": 0.08,
}


def launch(processes: int, *program: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", f"--master-port={port}"]
    command = [sys.executable, *(launcher if processes > 1 else []), *program]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def train(outdir: Path, processes: int) -> Path:
    sets = [f"--set={name}={value}" for name, value in tiny(**COMPARABLE).items()]
    launch(processes, "train.py", "--outdir", str(outdir), *sets)
    (folder,) = outdir.iterdir()
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("alone"), 1)


def test_two_processes_equal_one(alone, tmp_path):
    together = train(tmp_path, 2)
    state_a, about_a = checkpoint.load(alone / "state.safetensors")
    state_b, about_b = checkpoint.load(together / "state.safetensors")
    assert (about_a["world"], about_b["world"]) == (1, 2)
    assert state_a.keys() == state_b.keys()
    compared = 0
    for key, a in state_a.items():
        if (key.startswith("recipe.") and "networks" not in key) or key.endswith("w_average"):
            torch.testing.assert_close(a, state_b[key], atol=1e-5 * float(a.abs().max() + 1e-12), rtol=1e-4, msg=key)
            compared += "exp_avg_sq" in key and bool(a.any())
    assert compared > 40
    assert sorted(p.name for p in alone.glob("fakes-*")) == sorted(p.name for p in together.glob("fakes-*"))
    assert len((alone / "stats.jsonl").read_text().splitlines()) == len(
        (together / "stats.jsonl").read_text().splitlines()
    )


def test_two_processes_resume_exactly(tmp_path):
    """Stopped in the middle of a tick, where the statistics of both are open."""
    for outdir, *stop in ((tmp_path / "whole",), (tmp_path / "parts", "13"), (tmp_path / "parts",)):
        launch(2, "-m", "tests.training.runs", str(outdir), *stop)
    whole, parts = (next((tmp_path / name).iterdir()) for name in ("whole", "parts"))
    assert_equal_runs(whole, parts)
