"""`python -m custom_ops.build`: compile the native operators before their first use, and report the result."""

import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import torch

from custom_ops import build as operators
from custom_ops.build import library
from custom_ops.build.library import UnavailableError

EVERY_GPU = ("75", "80", "86", "89", "90", "100", "120")  # Turing to Blackwell

EXAMPLES = """\b
Examples:
  python -m custom_ops.build                 for this machine's CPU and GPU
  python -m custom_ops.build --check-cuda    check that the CUDA files compile for every GPU
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--device", type=click.Choice(list(library.SUFFIXES)), help="Compile for this device only.")
@click.option("--check-cuda", is_flag=True, help="Compile the CUDA files and keep nothing. Needs nvcc, but no GPU.")
def main(device: str | None, check_cuda: bool) -> None:
    """Compile the native operators ahead of time, and compare them with plain PyTorch on this machine.

    The exit status is 1 if an operator does not compile, or differs from plain PyTorch.
    """
    kinds = [] if check_cuda else [device] if device else list(library.SUFFIXES)
    results = [build(kind, device is not None) for kind in kinds] or [check(EVERY_GPU)]
    raise SystemExit(not all(results))


def build(name: str, required: bool) -> bool:
    """Build for a type of device and compare; print the results, and return whether all is well."""
    if not library.exist_for(name):
        click.echo(f"{name}: PyTorch finds no NVIDIA GPU")
        return not required
    began, device = time.monotonic(), torch.device(name)
    try:
        click.echo(f"{name}: {library.obtain(name)} is ready, after {time.monotonic() - began:.1f} s")
        why = operators.compare(device)
        result = f"plain PyTorch replaces them: {why}" if why else "all operators agree with plain PyTorch"
    except UnavailableError as error:
        click.echo(f"{name}: not built: {error}")
        return False
    except Exception as error:
        why = result = f"not compared with plain PyTorch ({type(error).__name__}: {error})"
    click.echo(f"{name}: on {operators.model(device)}, PyTorch {torch.__version__}, {result}")
    return not why


def check(numbers: Sequence[str], folder: Path = library.SOURCES) -> bool:
    """Compile every CUDA file for GPUs such as ["75", "90"]; print the results, and return whether all compile."""
    from torch.utils import cpp_extension  # slow to import, and needs setuptools

    try:
        nvcc, release = library.find_nvcc()
    except UnavailableError as error:
        click.echo(f"the CUDA files are not checked: {error}")
        return True
    click.echo(f"nvcc {release}, GPUs {', '.join(numbers)}")
    flags = [*cpp_extension.COMMON_NVCC_FLAGS, *library.FLAGS["cuda"], "-std=c++20", "--compiler-options", "-fPIC"]
    flags += [flag for path in cpp_extension.include_paths() for flag in ("-isystem", path)]
    command, well = [str(nvcc), *flags, *library.architectures(numbers), "--threads", "0", "-c"], True
    with tempfile.TemporaryDirectory() as into:
        for source in sorted(folder.glob("*.cu")):
            done = subprocess.run([*command, source], cwd=into, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            output = done.stdout.decode(errors="replace") or f"nvcc ended with status {done.returncode}"
            click.echo(f"{source.name}: {output if done.returncode else 'compiles'}")
            well &= done.returncode == 0
    return well


if __name__ == "__main__":
    main(prog_name="python -m custom_ops.build")
