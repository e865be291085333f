"""CUDA kernels emulated on the CPU, to test their arithmetic and their accesses to memory without a GPU."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import torch

import custom_ops
from tests.custom_ops import trial

SOURCES = Path(custom_ops.__file__).parent
HERE = Path(__file__).parent
POSSIBLE = trial.COMPILER is not None and sys.platform == "linux"
# Indices beyond an array, and wide accesses to places that are no multiple of their width: x86 allows them, a GPU ends.
SANITIZERS = ("-fsanitize=bounds,alignment", "-fsanitize-undefined-trap-on-error")


def load(names: Sequence[str], folder: Path, changes: Mapping[str, str] = MappingProxyType({})) -> None:
    """Compiles custom_ops/NAME.cu of every name; gives the kernels to operators of the same schemas in `emulated_ops`.

    Args:
        names: of files.
        folder: an empty one, to compile in.
        changes: what stands in the place of what, by a pattern that must be met: constants, for instance, with which
            small tensors would leave most of a kernel untried.
    """
    prepare(folder, changes)
    torch.ops.load_library(compiled([folder / f"{name}.cpp" for name in names], folder / "emulated.so"))


def prepare(folder: Path, changes: Mapping[str, str] = MappingProxyType({})) -> None:
    """Writes the sources as a C++ compiler takes them, and defines the operators that they implement."""
    launcher = (SOURCES / "cuda.h").read_text()
    launcher = _replace(launcher, r"const torch::stable::accelerator::DeviceGuard guard.*", "")
    launcher = _replace(launcher, r"void\* stream = nullptr;\s*TORCH_ERROR_CODE_CHECK.*", "")
    launcher = _replace(launcher, r"kernel<<<.*>>>\((.*)\);", r"emulation::launch(kernel, blocks, THREADS, \1);")
    launcher = _replace(launcher, r"const cudaError_t status.*\s*STD_TORCH_CHECK\(status.*", "")
    texts = {f"{file.stem}.cpp": file.read_text() for file in SOURCES.glob("*.cu")}
    texts = {name: _replace(text, r"\(custom_ops, CUDA, m\)", "(emulated_ops, CPU, m)") for name, text in texts.items()}
    texts |= {header.name: header.read_text() for header in SOURCES.glob("*.h")} | {"cuda.h": launcher}
    changes = {**changes, **json.loads(os.environ.get("EMULATED_CHANGES", "{}"))}  # faults on purpose
    for pattern, by in changes.items():
        assert any(re.search(pattern, text) for text in texts.values()), f"nothing is like {pattern}"
        texts = {name: re.sub(pattern, by, text) for name, text in texts.items()}
    for name, text in texts.items():
        (folder / name).write_text(shared(text))
    for operator in re.findall(r'm\.impl\("(\w+)"', "".join(texts.values())):
        if not hasattr(torch.ops.emulated_ops, operator):
            schema = str(getattr(torch.ops.custom_ops, operator).default._schema)
            torch.library.define(f"emulated_ops::{operator}", schema.partition(operator)[2])


def compiled(sources: Sequence[Path], library: Path) -> Path:
    """Compiles sources, whose headers are beside them, to a library."""
    package = Path(torch.__file__).parent
    command = [str(trial.COMPILER), "-O1", "-w", "-std=c++20", "-fPIC", "-shared", "-fvisibility=hidden", *SANITIZERS]
    command += ["-DTORCH_TARGET_VERSION=0x020a000000000000", f"-I{HERE}", "-isystem", str(package / "include")]
    command += [*map(str, sources), "-o", str(library), f"-L{package / 'lib'}", "-lc10", "-ltorch_cpu"]
    subprocess.run(command, check=True)
    return library


def shared(text: str) -> str:
    """Arrays in shared memory as arrays that all threads share, and that a block finds full of NaN."""
    return re.sub(
        r"__shared__ ([\w ]+) (\w+)((?:\[[^\]]+\])+);", r"static \1 \2\3; emulation::share(\2, sizeof \2);", text
    )


def _replace(text: str, pattern: str, by: str) -> str:
    replaced, count = re.subn(pattern, by, text)
    assert count, f"nothing is like {pattern}"
    return replaced
