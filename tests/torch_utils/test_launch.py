"""--gpus: who may start how many processes, and what is said of their end."""

import re
from types import SimpleNamespace

import pytest
import torch

from torch_utils import launch

CPU_ONLY = "--gpus 2: this machine has no CUDA device; on its CPU, --device cpu runs 2 processes"


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in ("WORLD_SIZE", "LAUNCHED_PROCESSES"):
        monkeypatch.delenv(name, raising=False)


def machine(monkeypatch, cuda: int = 0) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    "cuda, processes, device, sentence",
    [
        (0, 1, "auto", None),
        (0, 2, "auto", CPU_ONLY),
        (0, 2, "cpu", None),
        (2, 2, "auto", None),
        (2, 3, "auto", "--gpus 3: this machine has 2 CUDA devices: give --gpus 2 or fewer"),
        (1, 8, "cuda", "--gpus 8: this machine has 1 CUDA device: give --gpus 1 or fewer"),
        (2, 3, "cpu", None),
    ],
)
def test_as_many_as_there_are(monkeypatch, cuda, processes, device, sentence):
    machine(monkeypatch, cuda)
    if sentence is None:
        launch.check(processes, device)
    else:
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            launch.check(processes, device)


def test_under_torchrun_it_does_not_apply(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"^torchrun has started the processes already: leave --gpus out$"):
        launch.check(2, "cpu")


@pytest.mark.parametrize(
    "codes, status, told",
    [
        ({1: 2}, 2, ""),
        ({0: 1, 3: 1}, 1, ""),
        ({0: 1, 1: -9}, 1, "Error: process 1 was ended by SIGKILL, perhaps for want of memory: go on with --resume\n"),
        ({2: -11}, 1, "Error: process 2 was ended by SIGSEGV: go on with --resume\n"),
    ],
)
def test_the_end_in_a_sentence(capsys, codes, status, told):
    assert launch._outcome({n: SimpleNamespace(exitcode=code) for n, code in codes.items()}) == status
    assert capsys.readouterr().err == told
