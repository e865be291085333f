"""Compiles the native operators into one library per type of device, and keeps the library in a cache.

ROOT/KEY.so is the library, whose key is a digest of sources, flags, PyTorch and processors; KEY.lock is locked while a
process builds; KEY.log is what the compilers printed when they last failed; KEY.build/ is the build in progress.
"""

import contextlib
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
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import PIPE, STDOUT

import torch
from filelock import FileLock, Timeout

from system.resources import private_folder

SOURCES = Path(__file__).resolve().parent.parent
SUFFIXES = {"cpu": ".cpp", "cuda": ".cu"}  # of the sources, by type of device
PATIENCE = 600.0  # seconds that another process's build is waited for

# The sources use PyTorch's stable interface of version 2.10.
STABLE = "-DTORCH_TARGET_VERSION=0x020a000000000000"
# Floating-point exceptions are not needed. With them, compilers for AVX2, which has no masked instructions, do not
# vectorize loops with a condition, such as a leaky ReLU.
FLAGS = {
    "cpu": ["-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", STABLE],
    "cuda": ["-O3", "-DUSE_CUDA", STABLE],
}
_NATIVE = "-march=native" if platform.machine().lower() in ("x86_64", "amd64") else "-mcpu=native"
_LOAD = "import json, sys; from torch.utils import cpp_extension; cpp_extension.load(**json.loads(sys.argv[1]))"
_ERROR = re.compile(r"((?:[^/\s]*\s?(?:fatal )?error|^\w*Error): (?!Error building).*)", re.MULTILINE)


class UnavailableError(Exception):
    """Why there are no native operators, and what to do about it."""

    def __init__(self, why: str, mend: str) -> None:
        super().__init__(f"{why}: {mend}")


def exist_for(device: str) -> bool:
    """Whether there are native operators for a type of device, and this machine has such a device."""
    return device in SUFFIXES and (device == "cpu" or (torch.cuda.is_available() and torch.version.cuda is not None))


def roots() -> Iterator[Path]:
    """The folders that may hold libraries. The second is for machines whose home folder cannot be written to."""
    given = os.environ.get("TORCH_EXTENSIONS_DIR")
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    with contextlib.suppress(RuntimeError):  # there is no home folder
        yield Path(given or Path(caches) / "torch_extensions").expanduser() / "custom_ops"
    with contextlib.suppress(OSError):
        yield private_folder("custom_ops")


def obtain(device: str, sources: Path = SOURCES) -> Path:
    """Load the library of "cpu" or "cuda", and build it first if it is missing or does not load.

    Raises UnavailableError if it can be neither found nor built.
    """
    failures = []
    for root in roots():
        library = root / f"{key(device, sources)}.so"
        try:
            if library.is_file():
                with contextlib.suppress(OSError):
                    torch.ops.load_library(str(library))
                    return library
                library.unlink()
            root.mkdir(parents=True, exist_ok=True)
            _build(device, sources, library)
            torch.ops.load_library(str(library))
            return library
        except (OSError, NotImplementedError) as error:  # the folder cannot be written to, locked or loaded from
            failures.append(f"{root} cannot be used ({getattr(error, 'strerror', None) or error})")
    raise UnavailableError(
        " and ".join(failures) or "there is no folder to build in",
        "free some space, or set TORCH_EXTENSIONS_DIR to a folder that can be written",
    )


def key(device: str, sources: Path = SOURCES) -> str:
    """The name of a library. Libraries of the same name can replace one another, whichever compiler built them."""
    files = sorted([*sources.glob(f"*{SUFFIXES[device]}"), *sources.glob("*.h")])
    facts = [
        {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
        [torch.__version__, torch.version.git_version, torch.version.cuda, torch.compiled_with_cxx11_abi()],
        [sys.implementation.cache_tag, sysconfig.get_platform(), platform.machine()],
        _instructions() if device == "cpu" else _gpus(),
        FLAGS[device],
    ]
    return f"{device}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}"


def _build(device: str, sources: Path, library: Path) -> None:
    """Build a library, unless another process does so at the moment."""
    folder = library.with_suffix(".build")
    try:
        with FileLock(library.with_suffix(".lock"), timeout=PATIENCE):
            shutil.rmtree(folder, ignore_errors=True)  # what a killed build has left
            if not library.is_file():
                folder.mkdir()
                try:
                    _compile(device, sources, folder, library)
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
    except Timeout as error:
        raise UnavailableError(
            f"another process has been compiling them in {library.parent} for {PATIENCE:g} seconds",
            "end that process if it hangs, then start again",
        ) from error


def _compile(device: str, sources: Path, folder: Path, library: Path) -> None:
    """Compile a library in an empty folder and move it to its place."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])  # where ninja is
    # Compilers keep their temporaries in the folder, which is removed.
    environment = os.environ | {"CXX": _cxx(), "PATH": path, "TMPDIR": str(folder), "LC_ALL": "C"}
    own = [_NATIVE]
    if device == "cuda":
        nvcc, release = find_nvcc()
        if release.split(".")[0] != str(torch.version.cuda).split(".")[0]:
            raise UnavailableError(f"{nvcc} is of CUDA {release}, and PyTorch of CUDA {torch.version.cuda}", _toolkit())
        environment["CUDA_HOME"], own = str(nvcc.parent.parent), architectures(_gpus())
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"Compiling the {device.upper()} operators, once: this can take a minute ...", file=sys.stderr)
    arguments = {
        "name": "custom_ops",
        "sources": [str(source) for source in sorted(sources.glob(f"*{SUFFIXES[device]}"))],
        "extra_cuda_cflags" if device == "cuda" else "extra_cflags": [*FLAGS[device], *own],
        "build_directory": str(folder),
        "is_python_module": False,
        "with_cuda": device == "cuda",
    }
    command = [sys.executable, "-P", "-c", _LOAD, json.dumps(arguments)]
    done = subprocess.run(command, env=environment, stdout=PIPE, stderr=STDOUT, encoding="utf-8", errors="replace")
    if done.returncode == 0:
        with (folder / "custom_ops.so").open("rb") as file:
            os.fsync(file.fileno())  # loading half a file can kill a process
        (folder / "custom_ops.so").replace(library)
        return
    log = library.with_suffix(".log")
    with contextlib.suppress(OSError):
        log.write_text(done.stdout, encoding="utf-8")
    found = _ERROR.search(done.stdout)
    why = found[1].strip()[:200] if found else "the compiler printed no error"
    raise UnavailableError(f"they do not compile ({why})", f"see {log}")


def _cxx() -> str:
    """The command of the C++ compiler."""
    given = os.environ.get("CXX")
    for command in [given] if given else ["c++", "g++", "clang++"]:
        if sys.platform != "win32" and _output([*shlex.split(command), "--version"]):
            return command
    raise UnavailableError(
        f"there is no C++ compiler that works ({given or 'c++'})",
        "install one, such as g++ (Debian, Ubuntu: apt install g++; conda: conda install gxx; Windows: under WSL)",
    )


def find_nvcc() -> tuple[Path, str]:
    """The CUDA compiler inside its toolkit, and its release, such as "13.0"; or UnavailableError."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    places = [f"{home}/bin/nvcc"] if home else [shutil.which("nvcc") or "nvcc", "/usr/local/cuda/bin/nvcc"]
    found = []
    for place in places:
        if match := re.search(r"release (\d+\.\d+)", _output([place, "--version"])):
            found.append((Path(place).resolve(), match[1]))
    if found:  # a script or wrapper on the search path is outside its toolkit
        return max(found, key=lambda each: (each[0].parent.parent / "include" / "cuda_runtime.h").exists())
    raise UnavailableError(f"there is no CUDA compiler ({places[0]})", _toolkit())


def _toolkit() -> str:
    return f"install the CUDA toolkit {torch.version.cuda or ''}".strip() + ", and set CUDA_HOME to its folder"


def architectures(numbers: Sequence[str]) -> list[str]:
    """nvcc's flags for GPUs of these compute capabilities, such as ["75", "90"], and for later GPUs."""
    latest = max(numbers, key=int)
    codes = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in numbers]
    return [*codes, f"-gencode=arch=compute_{latest},code=compute_{latest}"]


def _output(command: list[str]) -> str:
    """What a program prints. Empty if the program fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _gpus() -> list[str]:
    """The compute capabilities of this machine's GPUs, such as ["75", "90"]."""
    capabilities = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
    return sorted((f"{major}{minor}" for major, minor in capabilities), key=int)


def _instructions() -> list[str]:
    """Every instruction set of this machine's processor: machines may share a home folder."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [platform.processor(), torch.backends.cpu.get_cpu_capability()]
    match = re.search(r"^(?:flags|features|isa)\s*:(.*)$", text, re.MULTILINE | re.IGNORECASE)
    return sorted(set(match[1].split())) if match else [platform.processor()]
