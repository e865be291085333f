"""`python -m custom_ops.build`: what it says, what it builds, what it refuses; and whether the CUDA files compile."""

import shutil
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner

from custom_ops.build import __main__ as command
from custom_ops.build import cache, compilation, toolchain
from custom_ops.build.toolchain import UnavailableError
from tests.custom_ops import trial

needs_compiler = pytest.mark.skipif(trial.COMPILER is None, reason="needs a C++ compiler")
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")


@pytest.fixture
def fast(monkeypatch, tmp_path):
    """A library of one line in place of the operators."""
    recipe = trial.recipe(tmp_path / "sources")
    monkeypatch.setattr(toolchain, "cpu_target", lambda: recipe.target)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "root"))
    monkeypatch.setattr(command, "_compare", lambda library, device: True)


def run(*arguments: str):
    return CliRunner().invoke(command.main, arguments)


@needs_compiler
def test_the_command_builds_ahead_and_says_what(fast, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = run()
    (library,) = tmp_path.glob("root/custom_ops/cpu-*/*.so")
    first, second = result.stdout.splitlines()
    assert first.startswith(f"cpu: {library} built from trial.cpp in ") and first.endswith(toolchain._cxx()[1])
    assert second == "cuda: PyTorch finds no GPU" and result.exit_code == 0
    monkeypatch.setattr(compilation, "compile_library", trial.failing(UnavailableError("no", "no")))
    again = run("--device", "cpu")
    assert again.output == f"cpu: {library} was there already\n" and again.exit_code == 0
    with monkeypatch.context() as without:
        without.setitem(toolchain.RECIPES, "cpu", trial.failing(UnavailableError("there is none", "install one")))
        found = run("--device", "cpu")
        assert found.output == (
            f"cpu: {library} was there already and serves; it could not be built here, for there is none: install one\n"
        )
        assert found.exit_code == 0 and run("--device", "cpu", "--force").exit_code == 1
    forced = run("--device", "cpu", "--force")
    assert forced.stdout == "cpu: not built, for no: no\n" and forced.exit_code == 1
    assert library.exists()
    absent = run("--device", "cuda")
    assert (
        absent.output.startswith("cuda: not built, for PyTorch finds no GPU: name the GPUs") and absent.exit_code == 1
    )


@pytest.mark.parametrize(
    "found, status, words",
    [
        ({}, 0, "all operators agree with plain PyTorch"),
        (
            {"upfirdn2d": "upfirdn2d of float32 is off"},
            1,
            "upfirdn2d differs from plain PyTorch, which serves in its place: upfirdn2d of float32 is off",
        ),
        (OSError("no"), 1, "not compared with plain PyTorch (OSError: no)"),
    ],
)
def test_the_command_says_whether_the_operators_agree(monkeypatch, tmp_path, found, status, words):
    def reach(proof, library, device):
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(toolchain, "cpu_target", lambda: toolchain.Target("cpu", (), (), {}))
    monkeypatch.setattr(command, "_build", lambda target, anew: (tmp_path / "x.so", "x.so was there already"))
    monkeypatch.setattr(command.verdict, "model", lambda device: "EPYC")
    monkeypatch.setattr(command.verdict, "reach", reach)
    done = run("--device", "cpu")
    assert done.output.splitlines() == [
        "cpu: x.so was there already",
        f"cpu: on EPYC, PyTorch {torch.__version__}, {words}",
    ]
    assert done.exit_code == status


@needs_compiler
def test_what_is_built_ahead_for_gpus_is_what_machines_with_them_look_for(gpu, tmp_path, monkeypatch):
    trial.toolkit(gpu, "13.0")
    whole = cache.obtain(trial.recipe(tmp_path / "sources"), [tmp_path / "root"])
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "root"))
    copy = lambda recipe, folder, patience: shutil.copy2(whole, folder / "library")  # noqa: E731
    monkeypatch.setattr(compilation, "compile_library", copy)
    result = run("--device", "cuda", "--arch", "80,75")
    first, second = result.stdout.splitlines()
    assert first.startswith("cuda 80: ") and second.startswith("cuda 75: ") and result.exit_code == 0
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda i: (8, 0))
    target = toolchain.cuda_target()
    assert target is not None
    library = cache.find(toolchain.cuda_recipe(target), cache.roots())
    assert library is not None and f"cuda 80: {library} built from " in first
    first, second = run("--device", "cuda", "--arch", "70,80").stdout.splitlines()  # one that is refused hinders none
    assert first.startswith("cuda 70: not built, for ") and second == f"cuda 80: {library} was there already"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--arch", "ninety"], "ninety is not a list of numbers of GPUs: give one such as 80,90"),
        (["--arch", "90", "--device", "cpu"], "--arch is for CUDA: leave it out, or take --device cuda"),
        (["--check-cuda", "--force"], "--check-cuda is for CUDA and keeps nothing: leave out --device cpu and --force"),
    ],
)
def test_the_command_refuses(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2 and message in result.output


def test_the_command_as_from_a_shell():
    done = subprocess.run([sys.executable, "-m", "custom_ops.build", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and "--check-cuda" in done.stdout


def test_without_nvcc_cuda_files_are_not_checked(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    result = run("--check-cuda")
    assert result.exit_code == 0
    assert result.output.startswith(
        f"the CUDA files are not checked, for there is no CUDA compiler ({tmp_path}/bin/nvcc)"
    )


@needs_nvcc
def test_cuda_files_are_checked(tmp_path, capsys):
    (tmp_path / "right.cu").write_text("__global__ void kernel(float* x) { x[threadIdx.x] *= 2; }\n")
    assert command.check(["75", "90"], tmp_path)
    assert "right.cu: compiles" in capsys.readouterr().out
    (tmp_path / "wrong.cu").write_text("__global__ void kernel(float* x) { x[threadIdx.x] *= two; }\n")
    assert not command.check(["75"], tmp_path)
    out = capsys.readouterr().out
    assert "right.cu: compiles" in out and 'identifier "two" is undefined' in out


@needs_nvcc
@pytest.mark.parametrize("source", sorted(toolchain.SOURCES.glob("*.cu")), ids=lambda path: path.name)
def test_every_cuda_file_compiles(source, tmp_path):
    """For the oldest and the latest GPUs; `make check-cuda` compiles for all."""
    assert compilation.compile_kernels(source, ["75", "120"], tmp_path) == ""
    assert list(tmp_path.glob("*.o"))
