"""`python -m custom_ops.build`: what it prints, builds and refuses; and whether the CUDA files compile."""

import shutil

import pytest
import torch
from click.testing import CliRunner

import custom_ops.build
from custom_ops.build import __main__ as command
from custom_ops.build import library, toolchain
from custom_ops.build.toolchain import UnavailableError
from tests.custom_ops import trial

needs_compiler = pytest.mark.skipif(trial.COMPILER is None, reason="needs a C++ compiler")
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")


def run(*arguments: str):
    return CliRunner().invoke(command.main, arguments)


@needs_compiler
def test_the_command_builds_ahead_and_says_what(tmp_path, monkeypatch):
    target = trial.target(tmp_path / "sources")
    monkeypatch.setattr(toolchain, "cpu_target", lambda: target)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "root"))
    monkeypatch.setattr(command, "_compare", lambda device: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = run()
    (file,) = tmp_path.glob("root/custom_ops/cpu-*.so")
    first, second = result.stdout.splitlines()
    assert first.startswith(f"cpu: {file} built in ")
    assert second == "cuda: PyTorch finds no GPU" and result.exit_code == 0
    monkeypatch.setattr(library, "_compile", trial.failing(UnavailableError("no", "no")))
    again = run("--device", "cpu")
    assert again.output == f"cpu: {file} was in the cache\n" and again.exit_code == 0
    forced = run("--device", "cpu", "--force")
    assert forced.stdout == "cpu: not built: no: no\n" and forced.exit_code == 1
    assert file.exists()
    absent = run("--device", "cuda")
    assert absent.output.startswith("cuda: not built: PyTorch finds no GPU: name the GPUs") and absent.exit_code == 1


@pytest.mark.parametrize(
    "found, status, words",
    [
        ({}, 0, "all operators agree with plain PyTorch"),
        ({"upfirdn2d": "it is off"}, 1, "upfirdn2d differs from plain PyTorch, which replaces it: it is off"),
        (OSError("no"), 1, "not compared with plain PyTorch (OSError: no)"),
    ],
)
def test_the_command_says_whether_the_operators_agree(monkeypatch, tmp_path, found, status, words):
    monkeypatch.setattr(toolchain, "cpu_target", lambda: toolchain.Target("cpu", (), (), {}))
    monkeypatch.setattr(library, "find", lambda target, roots: tmp_path)
    monkeypatch.setattr(library, "obtain", lambda target, roots, anew: tmp_path)
    monkeypatch.setattr(custom_ops.build, "model", lambda device: "EPYC")
    compare = trial.failing(found) if isinstance(found, Exception) else lambda device: found
    monkeypatch.setattr(custom_ops.build, "compare", compare)
    done = run("--device", "cpu")
    assert done.output.splitlines() == [
        f"cpu: {tmp_path} was in the cache",
        f"cpu: on EPYC, PyTorch {torch.__version__}, {words}",
    ]
    assert done.exit_code == status


@needs_compiler
def test_a_library_built_ahead_for_a_gpu_is_found_on_a_machine_with_it(gpu, tmp_path, monkeypatch):
    trial.toolkit(gpu, "13.0")
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "root"))
    monkeypatch.setattr(library, "run", lambda command, *_: built.append(command) or (0, ""))
    monkeypatch.setattr(torch.ops, "load_library", lambda path: None)
    real, built = library._compile, []

    def compile_(target, folder, file, patience):
        (folder / "custom_ops.so").touch()
        real(target, folder, file, patience)

    monkeypatch.setattr(library, "_compile", compile_)
    result = run("--device", "cuda", "--arch", "80,75")
    first, second = result.stdout.splitlines()
    assert first.startswith("cuda 80: ") and second.startswith("cuda 75: ") and result.exit_code == 0
    assert "sm_80" in str(built[0]) and "sm_75" not in str(built[0]) and "sm_75" in str(built[1])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda i: (8, 0))
    file = library.find(toolchain.cuda_target(), list(library.roots()))
    assert file is not None and f"cuda 80: {file} built in " in first
    first, second = run("--device", "cuda", "--arch", "70,80").stdout.splitlines()  # the refused one stops no other
    assert first.startswith("cuda 70: not built: ") and second == f"cuda 80: {file} was in the cache"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--arch", "ninety"], "ninety is not a list of compute capabilities such as 80,90"),
        (["--arch", "90", "--device", "cpu"], "--arch is for CUDA: leave it out, or take --device cuda"),
        (["--check-cuda", "--force"], "--check-cuda is for CUDA and keeps nothing: leave out --device cpu and --force"),
    ],
)
def test_the_command_refuses(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2 and message in result.output


def test_without_nvcc_cuda_files_are_not_checked(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    result = run("--check-cuda")
    assert result.exit_code == 0
    expected = f"the CUDA files are not checked: there is no CUDA compiler ({tmp_path}/bin/nvcc)"
    assert result.output.startswith(expected)


@needs_nvcc
def test_cuda_files_are_checked(tmp_path, capsys):
    (tmp_path / "right.cu").write_text("__global__ void kernel(float* x) { x[threadIdx.x] *= 2; }\n")
    (tmp_path / "wrong.cu").write_text("__global__ void kernel(float* x) { x[threadIdx.x] *= two; }\n")
    assert not command.check(["75"], tmp_path)
    out = capsys.readouterr().out
    assert "right.cu: compiles" in out and 'identifier "two" is undefined' in out


@pytest.mark.proof
@needs_nvcc
@pytest.mark.parametrize("source", sorted(toolchain.SOURCES.glob("*.cu")), ids=lambda path: path.name)
def test_every_cuda_file_compiles(source, tmp_path):
    """For the oldest and the latest GPUs. `make check-cuda` compiles for all."""
    assert library.compile_kernels(source, ["75", "120"], tmp_path) == ""
    assert list(tmp_path.glob("*.o"))
