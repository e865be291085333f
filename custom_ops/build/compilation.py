"""Compilers at work, in processes of their own that neither outlive us nor take more than their time."""

import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from custom_ops.build.toolchain import CUDA_FLAGS, Recipe, UnavailableError, architectures, find_nvcc

PATIENCE = 600.0  # seconds that a build may take, and that others wait for it
_LOAD = "import json, sys; from torch.utils import cpp_extension; cpp_extension.load(**json.loads(sys.argv[1]))"

# What goes wrong with a place rather than with the sources: the disk is full, or nothing on it may be executed.
_PLACE = re.compile("No space left on device|Disk quota exceeded|failed to map segment from shared object")
# What compilers, programs that start them and Python call an error, in the order of what they tell.
_ERRORS = [
    re.compile(r"[^/\s]*\s?(?:fatal )?error: .*"),
    re.compile(r"^\w*Error: (?!Error building).*"),
    re.compile(r"\berror\b.*", re.IGNORECASE),
]


def compile_library(recipe: Recipe, folder: Path, patience: float) -> Path:
    """Compiles and links a library in an empty folder; that it could be loaded has been tried when it is there.

    Raises:
        UnavailableError: when the compilers refuse.
        OSError: when the folder does not serve.
    """
    name, cuda = f"custom_ops_{recipe.target.name}", recipe.target.name == "cuda"
    arguments = {
        "name": name,
        "sources": [str(source) for source in recipe.target.sources],
        "extra_cuda_cflags" if cuda else "extra_cflags": list(recipe.flags),
        "build_directory": str(folder),
        "is_python_module": False,
        "with_cuda": cuda,
    }
    command = [sys.executable, "-P", "-c", _LOAD, json.dumps(arguments)]
    # Compilers keep their own temporaries where they are swept with the rest.
    environment = os.environ | recipe.environment | {"TMPDIR": str(folder), "LC_ALL": "C"}
    status, output = _run(command, environment, patience)
    library = folder / f"{name}.so"
    if status == 0 and library.exists():
        return library
    if place := _PLACE.search(output):
        raise OSError(errno.EIO, place[0], str(folder))
    log = folder.parent / "build.log"
    with contextlib.suppress(OSError):
        log.write_text(output, encoding="utf-8")
    raise UnavailableError(f"they do not compile ({_first_error(output)})", f"see {log}")


def compile_kernels(source: Path, numbers: Sequence[str], into: Path) -> str:
    """Compiles a CUDA file for GPUs of some numbers, such as ["75", "90"]. Needs nvcc, but no GPU and no CUDA build.

    Returns:
        What nvcc says when it refuses; empty when it does not.

    Raises:
        UnavailableError: when there is no nvcc.
    """
    from torch.utils import cpp_extension  # slow to import, and asks for setuptools

    nvcc, _ = find_nvcc()
    includes = [flag for path in cpp_extension.include_paths() for flag in ("-isystem", path)]
    flags = [*cpp_extension.COMMON_NVCC_FLAGS, *CUDA_FLAGS, "-std=c++20", "--compiler-options", "-fPIC", *includes]
    command = [str(nvcc), *flags, *architectures(numbers), "-c", str(source), "-o", str(into / f"{source.stem}.o")]
    status, output = _run(command, os.environ | {"TMPDIR": str(into), "LC_ALL": "C"}, PATIENCE)
    return "" if status == 0 else output or f"nvcc ended with status {status}"


def _run(command: list[str], environment: dict[str, str], patience: float) -> tuple[int, str]:
    """Exit status and output of a program, which does not outlive us or its time; nor do the compilers it starts."""
    child = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(timeout=patience)
    except BaseException as error:
        _end(child)
        if isinstance(error, subprocess.TimeoutExpired):
            return -1, f"error: it took more than {patience:g} seconds"
        raise
    return child.returncode, output


def _end(child: subprocess.Popen[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):  # at the first, ninja ends its compilers
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(child.pid, number)
            child.communicate(timeout=5)
            return


def _first_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    found = (match[0] for error in _ERRORS for line in lines if (match := error.search(line)))
    return next(found, "nothing was said")[:200]
