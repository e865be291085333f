"""Native operators are used where possible. Otherwise every program starts all the same, and says why."""

import json
import logging
import os
import shutil
import subprocess
import sys

import pytest
import torch

from custom_ops import build
from custom_ops.build import library
from custom_ops.build.library import UnavailableError
from tests.custom_ops import trial

needs_compiler = pytest.mark.skipif(trial.COMPILER is None, reason="needs a C++ compiler")
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")


@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=needs_compiler), pytest.param("cuda", marks=[pytest.mark.gpu, needs_nvcc])]
)
def test_with_a_compiler_the_native_operators_serve(device):
    assert os.environ.get("CUSTOM_OPS", "native") == "native"
    assert build.load(device), build.shortfall(device)
    assert build.implementation(device) == build.implementation(torch.device(device)) == "native"


def test_every_reason_is_told_once_and_raises_nothing(fresh, monkeypatch, caplog):
    def obtain(device):
        raise {"cpu": UnavailableError("the moon is full", "wait"), "cuda": ZeroDivisionError("by zero")}[device]

    monkeypatch.setattr(library, "obtain", obtain)
    monkeypatch.setattr(library, "exist_for", lambda device: True)
    for _ in range(2):
        assert not build.load("cpu") and not build.load("cuda")
    assert build.shortfall("cpu") == "the moon is full: wait"
    assert build.shortfall("cuda:0") == "they could not be made ready (ZeroDivisionError: by zero)"
    record, other = caplog.records
    assert record.levelno == other.levelno == logging.WARNING
    assert other.getMessage().startswith("native CUDA operators are off") and "by zero" in other.getMessage()
    assert record.getMessage() == (
        "native CPU operators are off, which makes training and sampling slower "
        "but changes no result beyond rounding: the moon is full: wait; "
        "or turn them off with CUSTOM_OPS=pytorch in the environment"
    )


@needs_compiler
def test_a_library_that_was_built_before_needs_no_compiler(fresh, monkeypatch, caplog, tmp_path):
    """As in a slim container, whose image was built with a compiler."""
    monkeypatch.setattr(library, "roots", lambda: iter([tmp_path / "root"]))
    sources, obtain = trial.sources(tmp_path / "sources"), library.obtain
    obtain("cpu", sources)
    monkeypatch.setattr(library, "obtain", lambda device: obtain(device, sources))
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(build, "compare", lambda device: "")
    assert build.load("cpu") and build.shortfall("cpu") == "" and not caplog.records


def test_the_environment_chooses(fresh, monkeypatch, caplog):
    monkeypatch.setenv("CUSTOM_OPS", "pytorch")
    assert build.implementation("cpu") == "pytorch" and build.shortfall("cpu") == "" and not caplog.records
    build._serving.clear()
    monkeypatch.setenv("CUSTOM_OPS", "fast")
    assert build.implementation("cpu") == "pytorch"
    assert build.shortfall("cpu") == "CUSTOM_OPS is fast, expected native or pytorch"


def test_a_person_without_a_compiler_reads_one_line(tmp_path):
    program = "from custom_ops import build; print([build.load('cpu') for _ in range(2)])"
    environment = os.environ | {"PATH": str(tmp_path), "TORCH_EXTENSIONS_DIR": str(tmp_path), "CXX": ""}
    environment |= {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, "[False, False]\n")
    assert done.stderr.startswith("native CPU operators are off") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("how", ["none", "missing", "broken"])
def test_no_compiler(monkeypatch, tmp_path, how):
    """No compiler on the search path, a given one that does not exist, and one that does not run."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    if how == "missing":
        monkeypatch.setenv("CXX", "g++-99")
    if how == "broken":
        (tmp_path / "bin" / "c++").symlink_to("/bin/false")
    with pytest.raises(UnavailableError) as error:
        library.obtain("cpu", trial.sources(tmp_path / "sources"))
    name = "g++-99" if how == "missing" else "c++"
    assert str(error.value) == (
        f"there is no C++ compiler that works ({name}): install one, such as g++ "
        f"(Debian, Ubuntu: apt install g++; conda: conda install gxx; Windows: under WSL)"
    )


@needs_compiler
def test_no_cuda_compiler(gpu):
    with pytest.raises(UnavailableError) as error:
        library.obtain("cuda", gpu)
    assert str(error.value) == (
        f"there is no CUDA compiler ({gpu}/cuda/bin/nvcc): "
        f"install the CUDA toolkit 13.0, and set CUDA_HOME to its folder"
    )


@needs_compiler
def test_a_cuda_compiler_of_another_version(gpu):
    nvcc = trial.toolkit(gpu, "12.8")
    with pytest.raises(UnavailableError) as error:
        library.obtain("cuda", gpu)
    assert str(error.value) == (
        f"{nvcc} is of CUDA 12.8, and PyTorch of CUDA 13.0: "
        f"install the CUDA toolkit 13.0, and set CUDA_HOME to its folder"
    )


@needs_compiler
def test_the_cuda_library_is_for_the_gpus_of_the_machine(gpu, monkeypatch):
    trial.toolkit(gpu, "13.1")  # another minor version will do
    started = []
    run = subprocess.run

    def load(command, **kwargs):
        if "-c" not in command:
            return run(command, **kwargs)
        started.append((json.loads(command[-1]), kwargs["env"]))
        return subprocess.CompletedProcess(command, 1, stdout="OSError: no")

    monkeypatch.setattr(subprocess, "run", load)
    with pytest.raises(UnavailableError, match=r"they do not compile \(OSError: no\)"):
        library.obtain("cuda", gpu)
    ((arguments, environment),) = started
    assert environment["CUDA_HOME"] == str(gpu / "cuda")
    assert [flag for flag in arguments["extra_cuda_cflags"] if "arch" in flag] == [
        "-gencode=arch=compute_75,code=sm_75",
        "-gencode=arch=compute_90,code=sm_90",
        "-gencode=arch=compute_90,code=compute_90",
    ]
    monkeypatch.setattr(torch.version, "cuda", None)
    assert not library.exist_for("cuda")  # PyTorch for other GPUs


def test_whatever_decides_where_a_library_runs_decides_its_key(monkeypatch, tmp_path):
    keys = [library.key("cpu", trial.sources(tmp_path))]

    def differs() -> bool:
        keys.append(library.key("cpu", tmp_path))
        return len(set(keys)) == len(keys)

    assert library.key("cpu", tmp_path) == keys[0]
    flags = library._instructions()
    assert flags
    monkeypatch.setattr(library, "_instructions", lambda: [*flags, "avx1024"])
    assert differs()
    monkeypatch.setattr(torch, "__version__", "9.9")
    assert differs()
    monkeypatch.setitem(library.FLAGS, "cpu", ["-O1"])
    assert differs()
    (tmp_path / "shared.h").write_text("// a header")
    assert differs()
    (tmp_path / "trial.cpp").write_text("int more;")
    assert differs()
