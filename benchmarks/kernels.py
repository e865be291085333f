"""How fast the native operators are, beside their reference in plain PyTorch and beside a copy of the same bytes."""

import platform
from functools import partial
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks.speed import fastest
from custom_ops import build
from custom_ops.proof import LAYOUTS, REFERENCES, as_tuple, calls, prepared
from torch_utils.cli import Command, option, progress, say
from torch_utils.device import keep_freed_memory, resolve_device

SECONDS = 0.3  # for each of the three
EXAMPLES = """
Examples:
  python -m benchmarks.kernels
  python -m benchmarks.kernels --device cuda --batch 32 --features 64x256x256
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option("--features", default="64x128x128", metavar="CxHxW", group="Measurement", help="channels, height and width")
@option("--batch", type=click.IntRange(min=1), default=4, group="Measurement", help="samples; 32 or more on a GPU")
@option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="cpu", group="Machine", help="compute device")
@option("--threads", type=click.IntRange(min=1), default=2, group="Machine", help="CPU threads")
def main(features: str, batch: int, device: str, threads: int) -> None:
    """Time the native operators, their reference and copies of the same bytes.

    `copy` is the time of copying the bytes that an operator reads and writes, divided by the operator's time.
    """
    try:
        C, H, W = map(int, features.split("x"))
        shape = batch, C, H, W
    except ValueError as error:
        raise ValueError(f"--features {features}: give channels, height and width, such as 64x128x128") from error
    place = resolve_device(device)
    torch.set_num_threads(threads)
    keep_freed_memory()
    say(
        f"{place.type} ({platform.machine()}), {threads} threads, PyTorch {torch.__version__}, {batch}x{features}, "
        f"{build.implementation(place)} operators {build.shortfall(place)}".rstrip()
    )
    say(f"\n{'operator':<24}  {'type':<8}  {'layout':<13}  native, ms   reference   times    copy")
    types = [(dtype, layout) for dtype in (torch.float32, torch.bfloat16) for layout in LAYOUTS]
    for dtype, layout in progress(types, len(types), "types"):
        for title, (name, arguments) in calls(shape, lambda *size: torch.randn(size, device=place)).items():
            native, reference, copy = measure(name, prepared(arguments, shape, dtype, layout, place), place)
            row = f"{title:<24}  {str(dtype).removeprefix('torch.'):<8}  {layout:<13}  {native * 1e3:10.3f}"
            say(f"{row}  {reference * 1e3:10.3f}  {reference / native:6.2f}  {copy / native:6.0%}")


@torch.no_grad()
def measure(name: str, arguments: list[Any], device: torch.device) -> tuple[float, ...]:
    """Seconds of a native operator, of its reference, and of a copy of the bytes that it reads and writes."""
    native = getattr(torch.ops.custom_ops, name).default
    tensors = [t for t in (*arguments, *as_tuple(native(*arguments))) if isinstance(t, Tensor)]
    size = sum(t.numel() * t.element_size() for t in tensors)
    target, source = torch.empty(2, size // 2, dtype=torch.uint8, device=device).fill_(1)
    timed = partial(native, *arguments), partial(REFERENCES[name], *arguments), partial(target.copy_, source)
    return tuple(fastest(each, SECONDS, device) for each in timed)


if __name__ == "__main__":
    main()
