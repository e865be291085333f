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
  python -m custom_ops.build                             for this machine's CPU and GPU
  python -m custom_ops.build --device cuda --arch 80,90  without a GPU, for machines that share the cache folder
  python -m custom_ops.build --check-cuda                check that the CUDA files compile for every GPU
"""


def _numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """`80,90` or `8.0,9.0`."""
    numbers = tuple(part.strip().replace(".", "") for part in value.split(",")) if value else ()
    if not all(number.isdecimal() and len(number) in (2, 3) for number in numbers):
        raise click.BadParameter(f"{value} is not a list of compute capabilities such as 80,90", ctx, param)
    return numbers


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="Compile for this device only.")
@click.option(
    "--arch",
    metavar="LIST",
    callback=_numbers,
    help="Compute capabilities of GPUs, such as 80,90; one library each.  [default: one for this machine's GPUs]",
)
@click.option("--force", is_flag=True, help="Compile again what is in the cache.")
@click.option("--check-cuda", is_flag=True, help="Compile the CUDA files and keep nothing. Needs nvcc, but no GPU.")
def main(device: str | None, arch: tuple[str, ...], force: bool, check_cuda: bool) -> None:
    """Compile the native operators ahead of time, and compare them with plain PyTorch on this machine.

    The exit status is 1 if an operator does not compile, or differs from plain PyTorch.
    """
    if check_cuda and (device == "cpu" or force):
        raise click.UsageError("--check-cuda is for CUDA and keeps nothing: leave out --device cpu and --force")
    if arch and device == "cpu":
        raise click.UsageError("--arch is for CUDA: leave it out, or take --device cuda")
    well = check(arch or EVERY_GPU) if check_cuda else build(device, arch, force)
    raise SystemExit(0 if well else 1)


def build(device: str | None, numbers: Sequence[str], anew: bool) -> bool:
    """Build for one type of device, or for all; print the results, and return whether all is well.

    Each of the given compute capabilities gets a library of its own, which a machine with such GPUs looks for.
    """
    well = True
    gpus: list[tuple[str, ...]] = [("cuda", number) for number in numbers] or [("cuda",)]
    for name, *number in [("cpu",), *gpus]:
        if device not in (None, name):
            continue
        label = " ".join([name, *number])
        try:
            target = toolchain.cuda_target(numbers=number) if name == "cuda" else toolchain.cpu_target()
            if target is None:
                if device or name == "cpu":
                    raise UnavailableError("PyTorch finds no GPU", "name the GPUs to compile for with --arch")
                click.echo(f"{label}: PyTorch finds no GPU")
                continue
            began, places = time.monotonic(), list(library.roots())
            known = None if anew else library.find(target, places)
            file = library.obtain(target, places, anew=anew)
            built = f"built in {time.monotonic() - began:.1f} s"
            click.echo(f"{label}: {file} {'was in the cache' if file == known else built}")
            well &= bool(number) or _compare(torch.device(name))
        except UnavailableError as error:
            click.echo(f"{label}: not built: {error}")
            well = False
    return well


def _compare(device: torch.device) -> bool:
    """Print how this machine's operators compare with plain PyTorch; return whether they agree."""
    where = f"{device.type}: on {custom_ops.build.model(device)}, PyTorch {torch.__version__},"
    try:
        found = custom_ops.build.compare(device)
    except Exception as error:
        click.echo(f"{where} not compared with plain PyTorch ({type(error).__name__}: {error})")
        return False
    if not found:
        click.echo(f"{where} all operators agree with plain PyTorch")
    for group, why in found.items():
        click.echo(f"{where} {group} differs from plain PyTorch, which replaces it: {why}")
    return not found


def check(numbers: Sequence[str], folder: Path = toolchain.SOURCES) -> bool:
    """Compile every CUDA file of a folder; print the results, and return whether all compile."""
    try:
        _, release = toolchain.find_nvcc()
    except UnavailableError as error:
        click.echo(f"the CUDA files are not checked: {error}")
        return True
    click.echo(f"nvcc {release}, GPUs {', '.join(numbers)}")
    sources, began, well = sorted(folder.glob("*.cu")), time.monotonic(), True
    with tempfile.TemporaryDirectory() as into, ThreadPoolExecutor(os.cpu_count()) as pool:
        outputs = pool.map(lambda source: library.compile_kernels(source, numbers, Path(into)), sources)
        for source, output in zip(sources, outputs, strict=True):
            click.echo(f"{source.name}: {output or 'compiles'}")
            well &= not output
    click.echo(f"{len(sources)} files in {time.monotonic() - began:.1f} s")
    return well


if __name__ == "__main__":
    main(prog_name="python -m custom_ops.build")
