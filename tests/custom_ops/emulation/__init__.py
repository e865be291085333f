"""CUDA kernels run on the CPU, slowly: what proves their arithmetic, and what they touch of memory, without a GPU."""

import re
import subprocess
import sys
from pathlib import Path

import torch

import custom_ops
from tests.custom_ops import trial

SOURCES = Path(custom_ops.__file__).parent
HERE = Path(__file__).parent
POSSIBLE = trial.COMPILER is not None and sys.platform == "linux"


def load(name: str, folder: Path) -> None:
    """Compiles custom_ops/NAME.cu and gives its kernels to operators of the same schemas in `emulated_ops`."""
    source, launcher = (SOURCES / f"{name}.cu").read_text(), (SOURCES / "cuda.h").read_text()
    source = _replace(source, r"\(custom_ops, CUDA, m\)", "(emulated_ops, CPU, m)")
    launcher = _replace(launcher, r"const torch::stable::accelerator::DeviceGuard guard.*", "")
    launcher = _replace(launcher, r"void\* stream = nullptr;\s*TORCH_ERROR_CODE_CHECK.*", "")
    launcher = _replace(launcher, r"kernel<<<.*>>>\((.*)\);", r"emulation::launch(kernel, blocks, THREADS, \1);")
    launcher = _replace(launcher, r"const cudaError_t status.*\s*STD_TORCH_CHECK\(status.*", "")
    (folder / f"{name}.cpp").write_text(
        _replace(source, "MOST_BLOCKS = .*;", "MOST_BLOCKS = 3;")
    )  # much to do for each
    (folder / "cuda.h").write_text(launcher)
    package, library = Path(torch.__file__).parent, folder / f"{name}.so"
    command = [str(trial.COMPILER), "-O1", "-w", "-std=c++20", "-fPIC", "-shared", "-fvisibility=hidden"]
    command += ["-fsanitize=bounds", "-fsanitize-undefined-trap-on-error"]  # for arrays in shared memory
    command += ["-DTORCH_TARGET_VERSION=0x020a000000000000", f"-I{HERE}", f"-I{SOURCES}", "-isystem"]
    command += [str(package / "include"), str(folder / f"{name}.cpp"), "-o", str(library)]
    subprocess.run([*command, f"-L{package / 'lib'}", "-lc10", "-ltorch_cpu"], check=True)
    for operator in re.findall(r'm\.impl\("(\w+)"', source):
        schema = str(getattr(torch.ops.custom_ops, operator).default._schema)
        torch.library.define(f"emulated_ops::{operator}", schema.partition(operator)[2])
    torch.ops.load_library(library)


def _replace(text: str, pattern: str, by: str) -> str:
    replaced, count = re.subn(pattern, by, text)
    assert count, f"nothing is like {pattern}"
    return replaced
