"""Building native libraries and keeping them: one file per target, built by one process at a time.

ROOT/cpu-0123456789abcdef.so      the library
ROOT/cpu-0123456789abcdef.lock    locked while a process builds; the system unlocks it when that process ends
ROOT/cpu-0123456789abcdef.log     what the compilers printed when they last failed
ROOT/cpu-0123456789abcdef.build/  the build in progress, or what a killed build has left
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from custom_ops.build.toolchain import CUDA_FLAGS, BuildTarget, UnavailableError, architectures, find_nvcc, tools
from system.resources import private_folder

PATIENCE = 600.0  # seconds that a build may take, and that another process's build is waited for
_LOAD = "import json, sys; from torch.utils import cpp_extension; cpp_extension.load(**json.loads(sys.argv[1]))"
_ERROR = re.compile(r"((?:[^/\s]*\s?(?:fatal )?error|^\w*Error): (?!Error building).*)", re.MULTILINE)


def roots() -> Iterator[Path]:
    """The folders that may hold libraries. The second is for machines whose home folder cannot be written to."""
    given = os.environ.get("TORCH_EXTENSIONS_DIR")
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    with contextlib.suppress(RuntimeError):  # there is no home folder
        yield Path(given or Path(caches) / "torch_extensions").expanduser() / "custom_ops"
    with contextlib.suppress(OSError):
        yield private_folder("custom_ops")


def obtain(target: BuildTarget, roots: Sequence[Path], patience: float = PATIENCE) -> Path:
    """Load the library of a target, and build it first if it is missing or does not load.

    Args:
        target: the library.
        roots: folders to look and to build in. A later one is used if an earlier one cannot be written to.
        patience: seconds that a build may take, and that another process's build is waited for.

    Returns:
        The path of the library.

    Raises:
        UnavailableError: if the library can be neither found nor built.
    """
    failures = []
    for root in roots:
        library = root / f"{target.key}.so"
        try:
            if library.is_file():
                with contextlib.suppress(OSError):
                    torch.ops.load_library(str(library))
                    return library
                library.unlink()
            root.mkdir(parents=True, exist_ok=True)
            _build(target, library, patience)
            torch.ops.load_library(str(library))
            return library
        except (OSError, NotImplementedError) as error:  # the folder cannot be written to, locked or loaded from
            failures.append(f"{root} cannot be used ({getattr(error, 'strerror', None) or error})")
    raise UnavailableError(
        " and ".join(failures) or "there is no folder to build in",
        "free some space, or set TORCH_EXTENSIONS_DIR to a folder that can be written",
    )


def _build(target: BuildTarget, library: Path, patience: float) -> None:
    """Build a library, unless another process does so at the moment."""
    folder, lock = library.with_suffix(".build"), FileLock(library.with_suffix(".lock"))
    try:
        lock.acquire(timeout=patience)
    except Timeout as error:
        raise UnavailableError(
            f"another process has been compiling them in {library.parent} for {patience:g} seconds",
            "end that process if it hangs, then start again",
        ) from error
    try:
        if not library.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _compile(target, folder, library, patience)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _compile(target: BuildTarget, folder: Path, library: Path, patience: float) -> None:
    """Compile a library in an empty folder and move it to its place."""
    (flags, using), cuda = tools(target), target.name == "cuda"
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"Compiling the {target.name.upper()} operators, once: this can take a minute ...", file=sys.stderr)
    arguments = {
        "name": "custom_ops",
        "sources": [str(source) for source in target.sources],
        "extra_cuda_cflags" if cuda else "extra_cflags": list(flags),
        "build_directory": str(folder),
        "is_python_module": False,
        "with_cuda": cuda,
    }
    # Compilers keep their temporaries in the folder, which is removed.
    environment = os.environ | using | {"TMPDIR": str(folder), "LC_ALL": "C"}
    status, output = run([sys.executable, "-P", "-c", _LOAD, json.dumps(arguments)], environment, patience)
    if status == 0:
        built = folder / "custom_ops.so"
        with built.open("rb") as file:
            os.fsync(file.fileno())  # loading half a file can kill a process
        built.replace(library)
        return
    with contextlib.suppress(OSError):
        library.with_suffix(".log").write_text(output, encoding="utf-8")
    found = _ERROR.search(output)
    why = found[1].strip()[:200] if found else "the compiler printed no error"
    raise UnavailableError(f"they do not compile ({why})", f"see {library.with_suffix('.log')}")


def compile_kernels(source: Path, numbers: Sequence[str], into: Path) -> str:
    """Compile a CUDA file for compute capabilities such as ["75", "90"]. Needs nvcc, but no GPU.

    Returns:
        nvcc's error. Empty if the file compiles.

    Raises:
        UnavailableError: if there is no nvcc.
    """
    from torch.utils import cpp_extension  # slow to import, and needs setuptools

    nvcc, _ = find_nvcc()
    includes = [flag for path in cpp_extension.include_paths() for flag in ("-isystem", path)]
    flags = [*cpp_extension.COMMON_NVCC_FLAGS, *CUDA_FLAGS, "-std=c++20", "--compiler-options", "-fPIC", *includes]
    command = [str(nvcc), *flags, *architectures(numbers), "-c", str(source), "-o", str(into / f"{source.stem}.o")]
    status, output = run(command, os.environ | {"TMPDIR": str(into), "LC_ALL": "C"}, PATIENCE)
    return "" if status == 0 else output or f"nvcc ended with status {status}"


def run(command: list[str], environment: dict[str, str], patience: float) -> tuple[int, str]:
    """Exit status and output of a program. The program and all that it starts end within `patience` seconds."""
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as child:
        try:
            output, _ = child.communicate(timeout=patience)
            return child.returncode, output
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                return -1, f"error: it took more than {patience:g} seconds"
            raise
