"""The native operators serve where they can; where they cannot, everything starts all the same, and says why."""

import logging
import os
import shutil
import subprocess
import sys

import pytest
import torch

from custom_ops import build
from custom_ops.build import toolchain
from custom_ops.build.toolchain import UnavailableError
from tests.custom_ops import trial

needs_compiler = pytest.mark.skipif(trial.COMPILER is None, reason="needs a C++ compiler")
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")


@pytest.fixture
def fresh(monkeypatch):
    """As if nothing had been loaded in this process yet."""
    for memory in ("_serving", "_libraries", "_refused", "_shortfalls"):
        monkeypatch.setattr(build, memory, {})
    monkeypatch.delenv("CUSTOM_OPS", raising=False)


@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=needs_compiler), pytest.param("cuda", marks=[pytest.mark.gpu, needs_nvcc])]
)
def test_where_there_is_a_compiler_the_native_operators_serve(device):
    assert os.environ.get("CUSTOM_OPS", "native") == "native"
    assert build.load(device), build.shortfall(device)
    assert build.implementation(device) == build.implementation(torch.device(device)) == "native"


def test_other_devices_are_not_spoken_of(fresh, caplog):
    assert not build.load("meta") and not build.load("mps")
    assert build.implementation("mps") == "pytorch" and build.shortfall("mps") == "" and not caplog.records


def test_a_folder_without_sources_is_none_of_our_business(fresh, monkeypatch, tmp_path, caplog):
    assert toolchain.cpu_target(tmp_path) is None and toolchain.cuda_target(tmp_path) is None
    monkeypatch.setitem(toolchain.TARGETS, "cpu", lambda: None)
    assert not build.load("cpu") and not caplog.records


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A cache without a library in it."""
    monkeypatch.setattr(build.cache, "roots", lambda: iter([tmp_path / "nowhere"]))


def test_every_reason_is_told_once_and_raises_nothing(fresh, nowhere, monkeypatch, caplog):
    monkeypatch.setitem(toolchain.RECIPES, "cpu", trial.failing(UnavailableError("the moon is full", "wait")))
    monkeypatch.setitem(toolchain.TARGETS, "cuda", trial.failing(ZeroDivisionError("by zero")))
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
        "or do without them, by CUSTOM_OPS=pytorch in the environment"
    )


def test_a_compiler_that_all_devices_miss_is_spoken_of_once(fresh, nowhere, monkeypatch, caplog):
    for device in ("cpu", "cuda"):
        monkeypatch.setitem(toolchain.TARGETS, device, trial.failing(UnavailableError("there is none", "install one")))
        assert not build.load(device) and build.shortfall(device) == "there is none: install one"
    assert len(caplog.records) == 1


@needs_compiler
def test_where_nothing_can_be_compiled_a_library_of_another_compiler_serves(fresh, monkeypatch, caplog, tmp_path):
    """As on a machine without a compiler, in an image that was made on one with it."""
    recipe = trial.recipe(tmp_path / "sources")
    monkeypatch.setattr(build.cache, "roots", lambda: iter([tmp_path / "root"]))
    library = build.cache.obtain(recipe, [tmp_path / "root"])
    monkeypatch.setitem(toolchain.TARGETS, "cpu", lambda: toolchain.cpu_target(tmp_path / "sources"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert build.load("cpu") and build.shortfall("cpu") == "" and not caplog.records
    build._serving.clear(), build._libraries.clear()
    library.write_bytes(b"")
    assert not build.load("cpu") and "there is no C++ compiler" in build.shortfall("cpu")


def test_the_environment_chooses(fresh, monkeypatch, caplog):
    monkeypatch.setenv("CUSTOM_OPS", "pytorch")
    assert build.implementation("cpu") == "pytorch" and build.shortfall("cpu") == "" and not caplog.records
    build._serving.clear(), build._libraries.clear()
    monkeypatch.setenv("CUSTOM_OPS", "fast")
    assert build.implementation("cpu") == "pytorch"
    assert build.shortfall("cpu") == "CUSTOM_OPS is fast, which is neither native nor pytorch: set one of them"


def test_a_person_without_a_compiler_reads_one_line(tmp_path):
    program = "from custom_ops import build; print([build.load('cpu') for _ in range(2)])"
    environment = os.environ | {"PATH": str(tmp_path), "TORCH_EXTENSIONS_DIR": str(tmp_path), "CXX": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, "[False, False]\n")
    assert done.stderr.startswith("native CPU operators are off") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("how", ["none", "missing", "broken"])
def test_no_compiler(monkeypatch, tmp_path, how):
    """None on the search path, one that is named but not there, and one that is there but does not run."""
    (tmp_path / "x.cpp").write_text("")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CXX", raising=False)
    if how == "missing":
        monkeypatch.setenv("CXX", "g++-99")
    if how == "broken":
        (tmp_path / "bin" / "c++").symlink_to("/bin/false")
    target = toolchain.cpu_target(tmp_path)
    assert target is not None
    with pytest.raises(UnavailableError) as error:
        toolchain.cpu_recipe(target)
    name = "g++-99" if how == "missing" else "c++"
    assert str(error.value) == (
        f"there is no C++ compiler that works ({name}): install one, such as g++ "
        f"(Debian, Ubuntu: apt install g++; conda: conda install gxx)"
    )


@needs_compiler
def test_ninja_is_found_beside_python_or_missed(monkeypatch, tmp_path):
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "c++").symlink_to(str(trial.COMPILER))
    monkeypatch.setenv("PATH", str(bin))
    monkeypatch.delenv("CXX", raising=False)
    environment = tmp_path / "environment"
    environment.mkdir()
    monkeypatch.setattr(sys, "executable", str(environment / "python"))
    monkeypatch.setattr(toolchain.sysconfig, "get_path", lambda name: str(environment))
    with pytest.raises(UnavailableError) as error:
        trial.recipe(tmp_path / "sources")
    assert str(error.value) == f"there is no ninja: {environment}/python -m pip install ninja"
    (environment / "ninja").write_text("")
    (environment / "ninja").chmod(0o755)
    assert trial.recipe(tmp_path / "sources").environment["PATH"] == f"{bin}{os.pathsep}{environment}"


def cuda_recipe(folder, numbers=()):
    target = toolchain.cuda_target(folder, numbers)
    assert target is not None
    return toolchain.cuda_recipe(target)


def test_no_cuda_compiler(gpu):
    with pytest.raises(UnavailableError) as error:
        cuda_recipe(gpu)
    assert str(error.value) == (
        f"there is no CUDA compiler ({gpu}/cuda/bin/nvcc): "
        f"install the CUDA toolkit 13.0, and set CUDA_HOME to its folder"
    )


@needs_compiler
def test_a_cuda_compiler_of_another_version(gpu):
    nvcc = trial.toolkit(gpu, "12.8")
    with pytest.raises(UnavailableError) as error:
        cuda_recipe(gpu)
    assert str(error.value) == (
        f"{nvcc} is of CUDA 12.8, and PyTorch of CUDA 13.0: "
        f"install the CUDA toolkit 13.0, and set CUDA_HOME to its folder"
    )


@needs_compiler
def test_the_cuda_library_is_for_the_gpus_of_the_machine(gpu):
    trial.toolkit(gpu, "13.1")  # another minor version serves
    recipe = cuda_recipe(gpu)
    assert recipe.environment["CUDA_HOME"] == str(gpu / "cuda")
    assert [flag for flag in recipe.flags if "arch" in flag] == [
        "-gencode=arch=compute_75,code=sm_75",
        "-gencode=arch=compute_86,code=sm_86",  # the latest that this compiler knows before 90
        "-gencode=arch=compute_86,code=compute_86",
    ]
    ahead = cuda_recipe(gpu, ["86"])
    assert ahead.target.key != recipe.target.key
    with pytest.raises(UnavailableError, match="knows no GPUs of number 70"):
        cuda_recipe(gpu, ["70"])


def test_cuda_operators_need_a_pytorch_with_cuda(gpu, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(UnavailableError, match="they are for NVIDIA GPUs, and this PyTorch is not: install a CUDA"):
        cuda_recipe(gpu)


@needs_compiler
def test_whatever_decides_the_library_decides_the_key(monkeypatch, tmp_path):
    """And for whom it serves, the key of the target, which does not know who compiles."""
    keys = [trial.recipe(tmp_path).key]

    def differs(target: bool = True) -> bool:
        keys.append(trial.recipe(tmp_path).key)
        before, now = (key.split("-")[0] for key in keys[-2:])
        return len(set(keys)) == len(keys) and (before != now) == target

    assert trial.recipe(tmp_path).key == keys[0]
    flags = toolchain._processor()
    assert flags
    monkeypatch.setattr(toolchain, "_processor", lambda: [*flags, "avx1024"])
    assert differs()
    monkeypatch.setattr(toolchain, "_tuning", lambda cxx: (["-march=z80"], "macros"))
    assert differs(target=False)
    monkeypatch.setattr(torch, "__version__", "9.9")
    assert differs()
    monkeypatch.setattr(toolchain, "CPU_FLAGS", ("-O1",))
    assert differs(target=False)
    monkeypatch.setenv("CXX", trial.compiler(tmp_path / "other", ":"))
    assert differs(target=False)
    (tmp_path / "shared.h").write_text("// a header")
    assert differs()
    (tmp_path / "trial.cpp").write_text("int more;")
    assert differs()
