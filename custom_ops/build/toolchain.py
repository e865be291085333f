"""What a native library is made of, which machines it runs on, and the compilers of this machine."""

import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

SOURCES = Path(__file__).resolve().parent.parent

# The sources use PyTorch's stable interface of version 2.10.
STABLE = "-DTORCH_TARGET_VERSION=0x020a000000000000"
# Floating-point exceptions are not needed. With them, compilers for AVX2, which has no masked instructions, do not
# vectorize loops with a condition, such as a leaky ReLU.
CPU_FLAGS = ("-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", STABLE)
CUDA_FLAGS = ("-O3", "-DUSE_CUDA", STABLE)


class UnavailableError(Exception):
    """Why there are no native operators, and what to do about it."""

    def __init__(self, why: str, mend: str) -> None:
        super().__init__(f"{why}: {mend}")


@dataclass(frozen=True)
class BuildTarget:
    """A library, by its sources and the machines that it runs on. Any compiler may build it."""

    name: str  # "cpu" or "cuda"
    sources: tuple[Path, ...]
    headers: tuple[Path, ...]
    machine: dict[str, Any] = field(repr=False)  # PyTorch, and the processors that the library is for

    @property
    def key(self) -> str:
        """A digest of the target. Libraries of the same key can replace one another."""
        files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (*self.sources, *self.headers)}
        facts = [files, self.machine, CPU_FLAGS if self.name == "cpu" else CUDA_FLAGS]
        return f"{self.name}-{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]}"


def cpu_target(folder: Path = SOURCES) -> BuildTarget:
    """All C++ files of a folder, for this machine's processor."""
    return BuildTarget(
        "cpu", tuple(sorted(folder.glob("*.cpp"))), _headers(folder), _pytorch() | {"processor": _processor()}
    )


def cuda_target(folder: Path = SOURCES) -> BuildTarget | None:
    """All CUDA files of a folder, for this machine's GPUs. None if there is no GPU."""
    if not torch.cuda.is_available():
        return None
    capabilities = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
    machine = _pytorch() | {"gpus": sorted((f"{major}{minor}" for major, minor in capabilities), key=int)}
    return BuildTarget("cuda", tuple(sorted(folder.glob("*.cu"))), _headers(folder), machine)


TARGETS: dict[str, Callable[[], BuildTarget | None]] = {"cpu": cpu_target, "cuda": cuda_target}


def tools(target: BuildTarget) -> tuple[tuple[str, ...], dict[str, str]]:
    """The compilers' flags for a target, and the environment variables that name the compilers.

    Raises:
        UnavailableError: if a compiler is missing or does not fit this PyTorch.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])  # where ninja is
    if target.name == "cuda" and torch.version.cuda is None:
        raise UnavailableError("they are for NVIDIA GPUs, and this PyTorch is not", "install a CUDA build of PyTorch")
    environment = {"CXX": shlex.join(_cxx()), "PATH": path}
    if target.name == "cpu":
        native = "-march=native" if platform.machine().lower() in ("x86_64", "amd64") else "-mcpu=native"
        return (*CPU_FLAGS, native), environment
    nvcc, release = find_nvcc()
    if release.split(".")[0] != str(torch.version.cuda).split(".")[0]:
        raise UnavailableError(
            f"{nvcc} is of CUDA {release}, and PyTorch of CUDA {torch.version.cuda}",
            f"install the CUDA toolkit {torch.version.cuda}, and set CUDA_HOME to its folder",
        )
    flags = (*CUDA_FLAGS, *architectures(target.machine["gpus"]))
    return flags, environment | {"CUDA_HOME": str(nvcc.parent.parent)}


def find_nvcc() -> tuple[Path, str]:
    """The CUDA compiler inside its toolkit, and its release, such as "13.0".

    Raises:
        UnavailableError: if there is no CUDA compiler.
    """
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    places = [f"{home}/bin/nvcc"] if home else [shutil.which("nvcc") or "nvcc", "/usr/local/cuda/bin/nvcc"]
    found = []
    for place in places:
        if match := re.search(r"release (\d+\.\d+)", _output([place, "--version"])):
            found.append((Path(place).resolve(), match[1]))
    # A script or wrapper on the search path is outside its toolkit.
    inside = [each for each in found if (each[0].parent.parent / "include" / "cuda_runtime.h").exists()]
    if found:
        return (inside or found)[0]
    toolkit = f"the CUDA toolkit {torch.version.cuda or ''}".strip()
    raise UnavailableError(
        f"there is no CUDA compiler ({places[0]})", f"install {toolkit}, and set CUDA_HOME to its folder"
    )


def architectures(numbers: Sequence[str]) -> list[str]:
    """nvcc's flags for GPUs of these compute capabilities, such as ["75", "90"], and for later GPUs."""
    latest = max(numbers, key=int)
    codes = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in numbers]
    return [*codes, f"-gencode=arch=compute_{latest},code=compute_{latest}"]


def _headers(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(folder.glob("*.h")))


def _cxx() -> list[str]:
    """The C++ compiler as a command."""
    if sys.platform == "win32":
        raise UnavailableError("they do not support Windows", "run under WSL")
    given = os.environ.get("CXX")
    for command in [shlex.split(given)] if given else [["c++"], ["g++"], ["clang++"]]:
        if _output([*command, "--version"]):
            return command
    raise UnavailableError(
        f"there is no C++ compiler that works ({given or 'c++'})",
        "install one, such as g++ (Debian, Ubuntu: apt install g++; conda: conda install gxx)",
    )


def _output(command: list[str]) -> str:
    """What a program prints. Empty if the program fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _pytorch() -> dict[str, Any]:
    return {
        "torch": [torch.__version__, torch.version.git_version, torch.version.cuda, torch.compiled_with_cxx11_abi()],
        "python": [sys.implementation.cache_tag, sysconfig.get_platform(), platform.machine()],
    }


def _processor() -> list[str]:
    """Every instruction set of this machine's processor: machines may share a home folder."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [platform.processor(), torch.backends.cpu.get_cpu_capability()]
    match = re.search(r"^(?:flags|features|isa)\s*:(.*)$", text, re.MULTILINE | re.IGNORECASE)
    return sorted(set(match[1].split())) if match else [platform.processor()]
