"""`python -m custom_ops.build`: compiles the native operators ahead of their first use, and says what came of it."""

import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import torch

import custom_ops.build
from custom_ops.build import cache, compilation, toolchain, verdict
from custom_ops.build.toolchain import Target, UnavailableError

EVERY_GPU = ("75", "80", "86", "89", "90", "100", "120")  # Turing to Blackwell

EXAMPLES = """\b
Examples:
  python -m custom_ops.build                             for this machine's CPU and, where there is one, its GPU
  python -m custom_ops.build --device cuda --arch 80,90  without a GPU, for two kinds of machines that share the cache
  python -m custom_ops.build --check-cuda                see whether the CUDA files compile for every GPU
"""


def _numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """`80,90` or `8.0,9.0`."""
    numbers = tuple(part.strip().replace(".", "") for part in value.split(",")) if value else ()
    if not all(number.isdecimal() and len(number) in (2, 3) for number in numbers):
        raise click.BadParameter(f"{value} is not a list of numbers of GPUs: give one such as 80,90", ctx, param)
    return numbers


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="Compile for this one only.")
@click.option(
    "--arch",
    metavar="LIST",
    callback=_numbers,
    help="GPUs to compile for, such as 80,90: a library for each kind.  [default: one for all of this machine]",
)
@click.option("--force", is_flag=True, help="Compile even what is there already.")
@click.option("--check-cuda", is_flag=True, help="Compile the CUDA files and keep nothing: needs nvcc, but no GPU.")
def main(device: str | None, arch: tuple[str, ...], force: bool, check_cuda: bool) -> None:
    """Compiles the native operators ahead of their first use, which would compile them otherwise.

    The exit status is 1 when something that was asked for did not compile, or differs from plain PyTorch
    on this machine.
    """
    if check_cuda and (device == "cpu" or force):
        raise click.UsageError("--check-cuda is for CUDA and keeps nothing: leave out --device cpu and --force")
    if arch and device == "cpu":
        raise click.UsageError("--arch is for CUDA: leave it out, or take --device cuda")
    well = check(arch or EVERY_GPU) if check_cuda else build(device, arch, force)
    raise SystemExit(0 if well else 1)


def build(device: str | None, numbers: Sequence[str], anew: bool) -> bool:
    """Builds for one type of device, or for all; says what came of it, and returns whether all is well.

    Each of the GPUs that are named gets a library of its own, which is what a machine of such GPUs looks for.
    """
    well = True
    of_gpus: list[tuple[str, ...]] = [("cuda", number) for number in numbers] or [("cuda",)]
    for name, *number in [("cpu",), *of_gpus]:
        if device not in (None, name):
            continue
        label = " ".join([name, *number])
        try:
            target = toolchain.cuda_target(numbers=number) if name == "cuda" else toolchain.cpu_target()
            if target is not None:
                library, said = _build(target, anew)
                click.echo(f"{label}: {said}")
                if not number:
                    well &= _compare(library, torch.device(name))
            elif device or name == "cpu":
                raise UnavailableError("PyTorch finds no GPU", "name the GPUs to compile for with --arch")
            else:
                click.echo(f"{label}: PyTorch finds no GPU")
        except UnavailableError as error:
            click.echo(f"{label}: not built, for {error}")
            well = False
    return well


def _compare(library: Path, device: torch.device) -> bool:
    """Says how the operators of this machine's library compare with plain PyTorch; returns whether they agree."""
    assert custom_ops.build.proof is not None, "the package sets it"
    beside = f"{device.type}: on {verdict.model(device)}, PyTorch {torch.__version__},"
    try:
        found = verdict.reach(custom_ops.build.proof, library, device)
    except Exception as error:
        click.echo(f"{beside} not compared with plain PyTorch ({type(error).__name__}: {error})")
        return False
    if not found:
        click.echo(f"{beside} all operators agree with plain PyTorch")
    for group, why in found.items():
        click.echo(f"{beside} {group} differs from plain PyTorch, which serves in its place: {why}")
    return not found


def _build(target: Target, anew: bool) -> tuple[Path, str]:
    roots, began = list(cache.roots()), time.monotonic()
    try:
        recipe = toolchain.RECIPES[target.name](target)
        known = None if anew else cache.find(recipe, roots)
        library = cache.obtain(recipe, roots, anew=anew)
    except UnavailableError as error:
        borrowed = None if anew else cache.borrow(target, roots)
        if borrowed is None:
            raise
        return borrowed, f"{borrowed} was there already and serves; it could not be built here, for {error}"
    if library == known:
        return library, f"{library} was there already"
    names = ", ".join(source.name for source in target.sources)
    return library, f"{library} built from {names} in {time.monotonic() - began:.1f} s with {recipe.compiler}"


def check(numbers: Sequence[str], folder: Path = toolchain.SOURCES) -> bool:
    """Compiles every CUDA file of a folder; says what came of it, and returns whether all is well."""
    try:
        _, release = toolchain.find_nvcc()
    except UnavailableError as error:
        click.echo(f"the CUDA files are not checked, for {error}")
        return True
    click.echo(f"nvcc {release}, GPUs {', '.join(numbers)}")
    sources, began, well = sorted(folder.glob("*.cu")), time.monotonic(), True
    with tempfile.TemporaryDirectory() as into, ThreadPoolExecutor(os.cpu_count()) as pool:
        outputs = pool.map(lambda source: compilation.compile_kernels(source, numbers, Path(into)), sources)
        for source, output in zip(sources, outputs, strict=True):
            click.echo(f"{source.name}: {output or 'compiles'}")
            well &= not output
    click.echo(f"{len(sources)} files in {time.monotonic() - began:.1f} s")
    return well


if __name__ == "__main__":
    main(prog_name="python -m custom_ops.build")
