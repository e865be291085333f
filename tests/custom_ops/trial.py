"""A library of one line, whose compiling takes no time; and compilers that misbehave."""

import ctypes
import shutil
from pathlib import Path

from custom_ops.build import toolchain
from custom_ops.build.toolchain import Recipe

COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")


def recipe(folder: Path, answer: int = 42) -> Recipe:
    """A recipe of a folder of its own, where a source is put if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("*.cpp")):
        (folder / "trial.cpp").write_text(f'extern "C" int answer() {{ return {answer}; }}\n')
    target = toolchain.cpu_target(folder)
    assert target is not None
    return toolchain.cpu_recipe(target)


def answer(library: Path) -> int:
    return ctypes.CDLL(str(library)).answer()


def compiler(path: Path, while_compiling: str) -> str:
    """A compiler that does something of its own, in the words of a shell, before it compiles or links."""
    path.write_text(
        f'#!/bin/sh\ncase " $* " in *" -c "*|*" -shared "*) {while_compiling};; esac\nexec {COMPILER} "$@"\n'
    )
    path.chmod(0o755)
    return str(path)


def toolkit(folder: Path, release: str) -> Path:
    nvcc = folder / "cuda" / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    known = " ".join(f"compute_{number}" for number in (75, 80, 86))
    nvcc.write_text(
        f'#!/bin/sh\ncase $1 in --list*) echo {known};; *) echo "release {release}, V{release}.88";; esac\n'
    )
    nvcc.chmod(0o755)
    return nvcc


def failing(error: Exception):
    def make(*_):
        raise error

    return make
