"""`python -m custom_ops.build`: what it prints, builds and refuses; and whether the CUDA files compile."""

import shutil

import pytest
import torch
from click.testing import CliRunner

import custom_ops.build
from custom_ops.build import __main__ as command
from custom_ops.build import library
from custom_ops.build.library import UnavailableError
from tests.custom_ops import trial

needs_compiler = pytest.mark.skipif(trial.COMPILER is None, reason="needs a C++ compiler")
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")


def run(*arguments: str):
    return CliRunner().invoke(command.main, arguments)


@needs_compiler
def test_builds_for_this_machine(tmp_path, monkeypatch):
    sources = trial.sources(tmp_path / "sources")
    monkeypatch.setattr(library, "obtain", lambda device, obtain=library.obtain: obtain(device, sources))
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "root"))
    monkeypatch.setattr(custom_ops.build, "compare", lambda device: "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = run()
    (file,) = tmp_path.glob("root/custom_ops/cpu-*.so")
    first, _, last = result.stdout.splitlines()
    assert first.startswith(f"cpu: {file} is ready, after ") and result.exit_code == 0
    assert last == "cuda: PyTorch finds no NVIDIA GPU" and run("--device", "cuda").exit_code == 1
    monkeypatch.setattr(library, "obtain", trial.failing(UnavailableError("no", "wait")))
    failed = run("--device", "cpu")
    assert failed.stdout == "cpu: not built: no: wait\n" and failed.exit_code == 1


@pytest.mark.parametrize(
    "found, status, words",
    [
        ("", 0, "all operators agree with plain PyTorch"),
        ("upfirdn2d is off", 1, "plain PyTorch replaces them: upfirdn2d is off"),
        (OSError("no"), 1, "not compared with plain PyTorch (OSError: no)"),
    ],
)
def test_compares_on_this_machine(monkeypatch, tmp_path, found, status, words):
    monkeypatch.setattr(library, "obtain", lambda device: tmp_path)
    monkeypatch.setattr(custom_ops.build, "model", lambda device: "EPYC")
    compare = trial.failing(found) if isinstance(found, Exception) else lambda device: found
    monkeypatch.setattr(custom_ops.build, "compare", compare)
    done = run("--device", "cpu")
    assert done.output.splitlines()[1:] == [f"cpu: on EPYC, PyTorch {torch.__version__}, {words}"]
    assert done.exit_code == status


@needs_nvcc
def test_cuda_files_are_checked(tmp_path, capsys):
    (tmp_path / "right.cu").write_text("__global__ void kernel(float* x) { x[threadIdx.x] *= 2; }\n")
    (tmp_path / "wrong.cu").write_text("__global__ void kernel(float* x) { x[threadIdx.x] *= two; }\n")
    assert not command.check(["75"], tmp_path)
    out = capsys.readouterr().out
    assert "right.cu: compiles" in out and 'identifier "two" is undefined' in out


@pytest.mark.proof
@needs_nvcc
def test_every_cuda_file_compiles():
    """For the oldest and the latest GPUs. `make check-cuda` compiles for all."""
    assert command.check(["75", "120"])
