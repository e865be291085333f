"""`python -m custom_ops.build`: compile the native operators before their first use, and report the result."""

import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import torch

import custom_ops.build
from custom_ops.build import library, toolchain
from custom_ops.build.toolchain import UnavailableError

EVERY_GPU = ("75", "80", "86", "89", "90", "100", "120")  # Turing to Blackwell

EXAMPLES = """\b
Examples:
  python -m custom_ops.build                 for this machine's CPU and GPU
  python -m custom_ops.build --check-cuda    check that the CUDA files compile for every GPU
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="Compile for this device only.")
@click.option("--check-cuda", is_flag=True, help="Compile the CUDA files and keep nothing. Needs nvcc, but no GPU.")
def main(device: str | None, check_cuda: bool) -> None:
    """Compile the native operators ahead of time, and compare them with plain PyTorch on this machine.

    The exit status is 1 if an operator does not compile, or differs from plain PyTorch.
    """
    if check_cuda:
        well = check(EVERY_GPU)
    else:
        results = [build(name, device is not None) for name in ([device] if device else toolchain.TARGETS)]
        well = all(results)
    raise SystemExit(0 if well else 1)


def build(name: str, required: bool) -> bool:
    """Build for a type of device and compare; print the results, and return whether all is well."""
    target = toolchain.TARGETS[name]()
    if target is None:
        click.echo(f"{name}: PyTorch finds no GPU")
        return not required
    began = time.monotonic()
    try:
        file = library.obtain(target, list(library.roots()))
    except UnavailableError as error:
        click.echo(f"{name}: not built: {error}")
        return False
    device = torch.device(name)
    click.echo(f"{name}: {file} is ready, after {time.monotonic() - began:.1f} s")
    where = f"{name}: on {custom_ops.build.model(device)}, PyTorch {torch.__version__},"
    try:
        why = custom_ops.build.compare(device)
    except Exception as error:
        click.echo(f"{where} not compared with plain PyTorch ({type(error).__name__}: {error})")
        return False
    click.echo(f"{where} {'plain PyTorch replaces them: ' + why if why else 'all operators agree with plain PyTorch'}")
    return not why


def check(numbers: Sequence[str], folder: Path = toolchain.SOURCES) -> bool:
    """Compile every CUDA file of a folder; print the results, and return whether all compile."""
    try:
        _, release = toolchain.find_nvcc()
    except UnavailableError as error:
        click.echo(f"the CUDA files are not checked: {error}")
        return True
    click.echo(f"nvcc {release}, GPUs {', '.join(numbers)}")
    sources, well = sorted(folder.glob("*.cu")), True
    with tempfile.TemporaryDirectory() as into, ThreadPoolExecutor(os.cpu_count()) as pool:
        outputs = pool.map(lambda source: library.compile_kernels(source, numbers, Path(into)), sources)
        for source, output in zip(sources, outputs, strict=True):
            click.echo(f"{source.name}: {output or 'compiles'}")
            well &= not output
    return well


if __name__ == "__main__":
    main(prog_name="python -m custom_ops.build")
