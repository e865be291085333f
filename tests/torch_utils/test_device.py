"""How much memory is free, and PyTorch's switches."""

import os
from pathlib import Path

import pytest
import torch

from torch_utils import device
from torch_utils.device import available_memory, set_precision, slow_precision

CPU = torch.device("cpu")


def group(folder: Path, most: str, used: int, files: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "memory.max").write_text(f"{most}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {files}\nactive_file 1\n")


def test_the_memory_of_the_system():
    free = available_memory(CPU)
    assert 2**20 < free < 2**50


def test_a_container_has_what_its_group_and_those_above_leave(tmp_path):
    """Files that were read count as free; a group without a limit does not count."""
    group(tmp_path, "max", 50, 0)
    group(tmp_path / "job", "1000", 700, 100)
    group(tmp_path / "job" / "step", "900", 750, 60)
    assert device._left_to_container(tmp_path, "/job/step") == [900 - 750 + 60, 1000 - 700 + 100]
    assert device._left_to_container(tmp_path, "/") == []
    assert device._left_to_container(tmp_path / "nothing", "/job") == []


def test_a_system_that_does_not_tell(monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda self: False)
    monkeypatch.setattr(os, "sysconf_names", {})
    with pytest.raises(ValueError, match=r"^this system does not tell how much memory is free$"):
        available_memory(CPU)


def test_a_system_that_tells_only_how_much_there_is(monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert available_memory(CPU) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


@pytest.fixture
def switches(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    set_precision("fp32")
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    torch.utils.deterministic.fill_uninitialized_memory = True


def test_deterministic_algorithms_are_asked_of_everybody(switches):
    set_precision("fp32", deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_usually_the_fastest_serve(switches):
    set_precision("tf32")
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark and not torch.backends.cudnn.deterministic
    assert torch.backends.cudnn.allow_tf32 and "CUBLAS_WORKSPACE_CONFIG" not in os.environ


@pytest.mark.parametrize("supported", [False, True])
def test_a_processor_without_bfloat16_is_told_of(monkeypatch, supported):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    words = (
        "--precision bf16: this processor has no instructions for it (AVX-512), "
        "and convolutions take as long as in fp32"
    )
    cpu = torch.device("cpu")
    assert slow_precision("bf16", cpu) == ("" if supported else words)
    assert slow_precision("fp32", cpu) == slow_precision("bf16", torch.device("cuda")) == ""


def test_where_nothing_is_known_of_bfloat16_nothing_is_said(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert slow_precision("bf16", torch.device("cpu")) == ""
