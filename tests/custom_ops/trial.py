"""A library of one line, which compiles quickly, and compilers that misbehave."""

import ctypes
import shutil
from pathlib import Path

COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")


def sources(folder: Path, source: str = 'extern "C" int answer() { return 42; }\n') -> Path:
    """A folder of sources, which gets one if it has none."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("*.cpp")):
        (folder / "trial.cpp").write_text(source)
    return folder


def answer(library: Path) -> int:
    return ctypes.CDLL(str(library)).answer()


def compiler(path: Path, while_compiling: str) -> str:
    """A compiler that runs a shell command before it compiles or links."""
    path.write_text(
        f'#!/bin/sh\ncase " $* " in *" -c "*|*" -shared "*) {while_compiling};; esac\nexec {COMPILER} "$@"\n'
    )
    path.chmod(0o755)
    return str(path)


def toolkit(folder: Path, release: str) -> Path:
    """A folder `cuda` with an nvcc of a release."""
    nvcc = folder / "cuda" / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(f'#!/bin/sh\necho "release {release}, V{release}.88"\n')
    nvcc.chmod(0o755)
    return nvcc


def failing(error: Exception):
    def make(*_, **__):
        raise error

    return make
