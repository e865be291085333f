"""A machine with GPUs, for tests that need none."""

import pytest
import torch

from custom_ops import build


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """A machine with two GPUs, and a folder with a CUDA file."""
    (tmp_path / "x.cu").write_text("")
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda i: [(9, 0), (7, 5)][i])
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    return tmp_path


@pytest.fixture
def fresh(monkeypatch):
    """As if nothing had been loaded in this process yet."""
    for memory in ("_serving", "_shortfalls"):
        monkeypatch.setattr(build, memory, {})
    monkeypatch.delenv("CUSTOM_OPS", raising=False)
