"""How much memory is free, and PyTorch's switches."""

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from torch_utils import device
from torch_utils.device import available_memory, slow_precision, switches

CPU = torch.device("cpu")


def group(folder: Path, most: str, used: int, files: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "memory.max").write_text(f"{most}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {files}\nactive_file 1\n")


def test_the_memory_of_the_system_is_what_it_says_itself(monkeypatch):
    """Without a limit of its own, a process may have what the system calls available, within what is there."""
    monkeypatch.setattr(device, "_left_to_container", lambda group: math.inf)
    free, total = available_memory(CPU), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    assert free == pytest.approx(int(rows["MemAvailable"].split()[0]) * 1024, abs=total * 0.2)
    taken = 2**29
    filled = torch.ones(taken, dtype=torch.uint8)
    assert available_memory(CPU) < total - taken and len(filled) == taken
    monkeypatch.setattr(device, "_left_to_container", lambda group: -1)
    assert available_memory(CPU) == 0
    monkeypatch.setattr(device, "_left_to_container", lambda group: 12345)
    assert available_memory(CPU) == 12345


def test_a_container_has_what_its_group_leaves(tmp_path):
    """Files that were read count as free; a group without a limit does not count."""
    group(tmp_path, "max", 50, 0)
    assert device._left_to_container(tmp_path) == device._left_to_container(tmp_path / "nothing") == math.inf
    group(tmp_path, "1000", 700, 100)
    assert device._left_to_container(tmp_path) == 400


def test_a_system_that_does_not_tell(monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda self: False)
    monkeypatch.setattr(os, "sysconf_names", {})
    with pytest.raises(ValueError, match=r"^this system does not report how much memory is free$"):
        available_memory(CPU)


def standing() -> dict[str, object]:
    """Every switch that `set_precision` may touch. Reading an old one raises where the new ones say otherwise."""

    def old(read):
        try:
            return read()
        except RuntimeError:
            return "mixed"

    b: Any = torch.backends
    return {
        "matmul": old(lambda: b.cuda.matmul.allow_tf32),
        "cudnn": old(lambda: b.cudnn.allow_tf32),
        "float32": old(torch.get_float32_matmul_precision),
        "new": [b.cuda.matmul.fp32_precision, b.cudnn.conv.fp32_precision, b.cudnn.rnn.fp32_precision],
        "benchmark": (b.cudnn.benchmark, b.cudnn.deterministic),
        "algorithms": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        "filled": torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        "cublas": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    }


def new_api() -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]


def old_api() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    torch.use_deterministic_algorithms(True, warn_only=True)


@pytest.fixture(params=[lambda: None, old_api, new_api], ids=["fresh", "old", "new"])
def host(request, monkeypatch):
    """A program that has set PyTorch's switches in its own way. Afterwards they are as at the start of a process."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(device, "_reserved", False)
    before = standing()
    request.param()
    yield standing()
    for backend, precision in zip(device._backends(), before["new"], strict=True):
        backend.fp32_precision = "none" if precision == "none" else precision
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before["matmul"], before["cudnn"]
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(False)


def test_deterministic_algorithms_are_asked_of_everybody(host):
    with switches("fp32", deterministic=True):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert standing() == host


@pytest.mark.parametrize(("precision", "new"), [("tf32", "tf32"), ("fp32", "ieee"), ("bf16", "ieee")])
def test_tf32_is_allowed_only_where_it_was_asked_for(host, precision, new):
    with switches(precision):
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.benchmark and not torch.backends.cudnn.deterministic
        found = standing()
        assert found["new"] == [new] * 3 or found["cudnn"] is found["matmul"] is (precision == "tf32")
        assert found["cublas"] is None
    assert standing() == host


def test_cublas_is_told_in_time_or_the_run_is_refused(monkeypatch):
    """What is in the environment counts only when cuBLAS is first used."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(device, "_reserved", False)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    used = {"allocation.all.allocated": 0}
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda number: used if number else {})
    device.reserve_workspace()
    assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
    used["allocation.all.allocated"] = 1
    device.reserve_workspace()  # it was told before
    del os.environ["CUBLAS_WORKSPACE_CONFIG"]
    monkeypatch.setattr(device, "_reserved", False)
    with pytest.raises(ValueError, match=r"set CUBLAS_WORKSPACE_CONFIG=:4096:8 in the environment before the program"):
        device.reserve_workspace()
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    device.reserve_workspace()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


@pytest.mark.parametrize("supported", [False, True])
def test_a_processor_without_bfloat16_is_told_of(monkeypatch, supported):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    words = "--precision bf16: this processor has no instructions for it (AVX-512), and is no faster than in fp32"
    cpu = torch.device("cpu")
    assert slow_precision("bf16", cpu) == ("" if supported else words)
    assert slow_precision("fp32", cpu) == slow_precision("bf16", torch.device("cuda")) == ""
