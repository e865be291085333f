"""What a library of operators is made of and for, and by what; and the keys that tell one from another."""

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

# The level of the stable interface of PyTorch that the sources keep to: 2.10.
STABLE = "-DTORCH_TARGET_VERSION=0x020a000000000000"
# Nobody looks at floating-point exceptions. Where they count, compilers for AVX2, whose instructions have no masks,
# leave every loop with a choice in it, such as a leaky ReLU, to one number at a time.
CPU_FLAGS = ("-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", STABLE)
CUDA_FLAGS = ("-O3", "-DUSE_CUDA", STABLE)


class UnavailableError(Exception):
    """Why there are no native operators, and what mends it."""

    def __init__(self, why: str, mend: str) -> None:
        super().__init__(f"{why}: {mend}")


@dataclass(frozen=True)
class Target:
    """What a library is made of, and for: whoever compiles it, it serves the same machines."""

    name: str  # "cpu" or "cuda"
    sources: tuple[Path, ...]
    headers: tuple[Path, ...]
    machine: dict[str, Any] = field(repr=False)  # PyTorch, and processors that the library is for

    @property
    def key(self) -> str:
        """Libraries of one key can stand in for one another."""
        files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (*self.sources, *self.headers)}
        return _digest([self.name, files, self.machine])


@dataclass(frozen=True)
class Recipe:
    """All that decides what a compiled library will be."""

    target: Target
    flags: tuple[str, ...]
    compiler: str  # with its version, for people
    environment: dict[str, str] = field(repr=False)  # what the build needs beyond this process's own
    tools: dict[str, Any] = field(repr=False)  # compilers, and what they make of their flags

    @property
    def key(self) -> str:
        """Two recipes of one key make the same library; the key of the target comes first."""
        return f"{self.target.key}-{_digest([self.flags, self.tools])}"


def _digest(facts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def cpu_target(folder: Path = SOURCES) -> Target | None:
    """All C++ files of a folder for this machine's processor; None where there are none."""
    sources = tuple(sorted(folder.glob("*.cpp")))
    return Target("cpu", sources, _headers(folder), _pytorch() | {"processor": _processor()}) if sources else None


def cpu_recipe(target: Target) -> Recipe:
    """How this machine's compiler makes a library of C++ files.

    Raises:
        UnavailableError: when no compiler can be used.
    """
    cxx, version = _cxx()
    tuning, macros = _tuning(cxx)
    environment = {"CXX": shlex.join(cxx)} | _with_ninja()
    return Recipe(target, (*CPU_FLAGS, *tuning), version, environment, {"cxx": [cxx, version], "macros": macros})


def cuda_target(folder: Path = SOURCES, numbers: Sequence[str] = ()) -> Target | None:
    """All CUDA files of a folder; None where there are no files, or no GPU to run them.

    Args:
        folder: of the files.
        numbers: of the GPUs that the library is for, such as ["75", "90"]; by default those of this machine.
    """
    sources = tuple(sorted(folder.glob("*.cu")))
    if not sources or not (numbers or torch.cuda.is_available()):
        return None
    gpus = sorted(numbers or _gpus(), key=int)
    return Target("cuda", sources, _headers(folder), _pytorch() | {"gpus": gpus})


def cuda_recipe(target: Target) -> Recipe:
    """How this machine's compilers make a library of CUDA files.

    Raises:
        UnavailableError: when no compiler can be used.
    """
    if torch.version.cuda is None:
        raise UnavailableError("they are for NVIDIA GPUs, and this PyTorch is not", "install a CUDA build of PyTorch")
    cxx, version = _cxx()
    nvcc, release = find_nvcc()
    if release.split(".")[0] != torch.version.cuda.split(".")[0]:
        raise UnavailableError(
            f"{nvcc} is of CUDA {release}, and PyTorch of CUDA {torch.version.cuda}",
            f"install the CUDA toolkit {torch.version.cuda}, and set CUDA_HOME to its folder",
        )
    choices = {name: os.environ.get(name) for name in ("CC", "NVCC_CCBIN", "NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS")}
    tools = {"cxx": [cxx, version], "nvcc": [str(nvcc), _told([str(nvcc), "--version"])], "choices": choices}
    environment = {"CXX": shlex.join(cxx), "CUDA_HOME": str(nvcc.parent.parent)} | _with_ninja()
    flags = (*CUDA_FLAGS, *architectures(_known(target.machine["gpus"], nvcc)))
    return Recipe(target, flags, f"nvcc {release}, {version}", environment, tools)


TARGETS: dict[str, Callable[[], Target | None]] = {"cpu": cpu_target, "cuda": cuda_target}
RECIPES: dict[str, Callable[[Target], Recipe]] = {"cpu": cpu_recipe, "cuda": cuda_recipe}


def find_nvcc() -> tuple[Path, str]:
    """The CUDA compiler and its release, such as "13.0".

    Raises:
        UnavailableError: when there is none.
    """
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    places = [str(Path(home) / "bin" / "nvcc")] if home else ["nvcc", "/usr/local/cuda/bin/nvcc"]
    for nvcc in filter(None, map(shutil.which, places)):
        if match := re.search(r"release (\d+\.\d+)", _told([nvcc, "--version"])):
            return _behind(nvcc), match[1]
    toolkit = f"the CUDA toolkit {torch.version.cuda or ''}".strip()
    raise UnavailableError(
        f"there is no CUDA compiler ({places[0]})", f"install {toolkit}, and set CUDA_HOME to its folder"
    )


def _behind(nvcc: str) -> Path:
    """The compiler itself, which lies in its toolkit, where a link or a script on the search path does not."""
    folder = re.search(r"_THERE_=(.+)", _told([nvcc, "--dryrun", "-x", "cu", "-c", os.devnull], subprocess.STDOUT))
    itself = Path(folder[1]) / "nvcc" if folder else Path(nvcc)
    return itself if itself.exists() else Path(nvcc)


def architectures(numbers: Sequence[str]) -> list[str]:
    """Flags for GPUs of these numbers, such as ["75", "90"], and for later ones."""
    latest = max(numbers, key=int)
    codes = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in numbers]
    return [*codes, f"-gencode=arch=compute_{latest},code=compute_{latest}"]


def _gpus() -> list[str]:
    capabilities = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
    return [f"{major}{minor}" for major, minor in sorted(capabilities)]


def _known(numbers: Sequence[str], nvcc: Path) -> list[str]:
    """The numbers that nvcc can compile for; a GPU later than those runs what is made for the latest before it."""
    known = sorted(map(int, re.findall(r"compute_(\d+)", _told([str(nvcc), "--list-gpu-arch"]))))
    chosen = set()
    for number in map(int, numbers):
        before = [one for one in known if one <= number]
        if not before:
            raise UnavailableError(f"{nvcc} knows no GPUs of number {number}", "install another CUDA toolkit")
        chosen.add(before[-1])
    return [str(number) for number in sorted(chosen)]


def _headers(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted([*folder.glob("*.h"), *folder.glob("*.cuh")]))


def _cxx() -> tuple[list[str], str]:
    """The C++ compiler as a command, and the line that tells its version."""
    if sys.platform == "win32":
        raise UnavailableError("they are not written for Windows", "run under WSL, which they are written for")
    given = os.environ.get("CXX")
    commands = [shlex.split(given)] if given else [["c++"], ["g++"], ["clang++"]]
    for command in commands:
        program = shutil.which(command[0])
        version = _told([program, *command[1:], "--version"]) if program else ""
        if program and version:
            return [program, *command[1:]], version.splitlines()[0]
    raise UnavailableError(
        f"there is no C++ compiler that works ({given or 'c++'})",
        "install one, such as g++ (Debian, Ubuntu: apt install g++; conda: conda install gxx)",
    )


def _tuning(cxx: list[str]) -> tuple[list[str], str]:
    """The flag that lets a compiler use all of this processor, where it knows one; and what it then defines."""
    for flags in (["-march=native"], ["-mcpu=native"]):
        macros = _told([*cxx, *flags, "-dM", "-E", "-x", "c++", os.devnull])
        if macros:
            return flags, hashlib.sha256(macros.encode()).hexdigest()
    return [], ""


def _told(command: list[str], errors: int = subprocess.DEVNULL) -> str:
    """What a program prints; nothing when it fails."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=60
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _pytorch() -> dict[str, Any]:
    return {
        "torch": [torch.__version__, torch.version.git_version, torch.version.cuda, torch.compiled_with_cxx11_abi()],
        "python": [sys.implementation.cache_tag, sysconfig.get_platform(), platform.machine()],
    }


def _processor() -> list[str]:
    """Every instruction set of this machine's processor: a home that machines share holds a library for each kind."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [platform.processor(), torch.backends.cpu.get_cpu_capability()]
    match = re.search(r"^(?:flags|features|isa)\s*:(.*)$", text, re.MULTILINE | re.IGNORECASE)
    return sorted(set(match[1].split())) if match else [platform.processor()]


def _with_ninja() -> dict[str, str]:
    """A search path with ninja on it: pip puts it beside Python, where it hides while an environment is not active."""
    path = os.environ.get("PATH", os.defpath)
    beside = str(Path(sys.executable).parent)
    for folders in (path, beside, sysconfig.get_path("scripts")):
        if shutil.which("ninja", path=folders):
            return {"PATH": path if folders == path else f"{path}{os.pathsep}{folders}"}
    raise UnavailableError("there is no ninja", f"{sys.executable} -m pip install ninja")
