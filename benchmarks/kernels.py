"""How fast the native operators are, beside their reference in plain PyTorch and beside a copy of the same bytes."""

import platform
from functools import partial
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks.speed import fastest
from custom_ops import build, setup_filter
from custom_ops.proof import LAYOUTS, REFERENCES
from torch_utils.cli import Command, option, progress, say
from torch_utils.device import keep_freed_memory, resolve_device
from training.augment.geometry import SYM6

SECONDS = 0.3  # for each of the three
EXAMPLES = """
Examples:
  python -m benchmarks.kernels
  python -m benchmarks.kernels --device cuda --batch 32 --features 64x256x256
"""

Call = tuple[str, tuple[Any, ...]]  # the name of an operator, and its arguments


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
    except ValueError as error:
        raise ValueError(f"--features {features}: give channels, height and width, such as 64x128x128") from error
    place = resolve_device(device)
    torch.set_num_threads(threads)
    keep_freed_memory()
    say(
        f"{place.type} ({platform.machine()}), {threads} threads, PyTorch {torch.__version__}, {batch}x{C}x{H}x{W}, "
        f"{build.implementation(place)} operators {build.shortfall(place)}".rstrip()
    )
    say(f"\n{'operator':<24}  {'type':<8}  {'layout':<13}  native, ms   reference   times    copy")
    types = [(dtype, layout) for dtype in (torch.float32, torch.bfloat16) for layout in LAYOUTS]
    for dtype, layout in progress(types, len(types), "types"):
        x = torch.randn(batch, C, H, W, device=place).to(dtype).contiguous(memory_format=LAYOUTS[layout])
        for title, call in calls(x).items():
            native, reference, copy = measure(call, place)
            row = f"{title:<24}  {str(dtype).removeprefix('torch.'):<8}  {layout:<13}  {native * 1e3:10.3f}"
            say(f"{row}  {reference * 1e3:10.3f}  {reference / native:6.2f}  {copy / native:6.0%}")


def calls(x: Tensor) -> dict[str, Call]:
    """The calls to time on features x [N, C, H, W], by title."""
    N, C, H, W = x.shape
    scale, noise, b = (torch.randn(size, device=x.device) for size in ([N, C], [N, 1, H, W], [C]))
    dy, y, curve = torch.randn_like(x), torch.randn_like(x), (0.2, 1.4, None)
    blur, wavelet = setup_filter((1, 3, 3, 1), device=x.device), setup_filter(SYM6, separable=True, device=x.device)
    return {
        "bias_act": ("scale_bias_act", (x, None, None, b, *curve)),
        "bias_act backward": ("scale_bias_act_backward", (dy, y, None, None, *curve, False, False, True)),
        "scale_bias_act": ("scale_bias_act", (x, scale, noise, b, *curve)),
        "scale_bias_act backward": ("scale_bias_act_backward", (dy, y, x, scale, *curve, True, True, True)),
        "scale_bias_act tangent": ("scale_bias_act_jvp", (y, dy, x, scale, scale, noise, b, *curve)),
        "filter2d": ("upfirdn2d", (x, blur, 1, 1, 2, 1, 2, 1, 1.0, False)),
        "upsample2d": ("upfirdn2d", (x, blur, 2, 1, 2, 1, 2, 1, 4.0, False)),
        "downsample2d": ("upfirdn2d", (x, blur, 1, 2, 1, 1, 1, 1, 1.0, False)),
        "upsample2d wavelet": ("upfirdn2d", (x, wavelet, 2, 1, 6, 5, 6, 5, 4.0, False)),
        "downsample2d wavelet": ("upfirdn2d", (x, wavelet, 1, 2, 5, 5, 5, 5, 1.0, True)),
    }


@torch.no_grad()
def measure(call: Call, device: torch.device) -> tuple[float, ...]:
    """Seconds of the native operator, of its reference, and of a copy of the bytes that it reads and writes."""
    name, arguments = call
    native = getattr(torch.ops.custom_ops, name).default
    results = native(*arguments)
    results = results if isinstance(results, tuple) else (results,)
    size = sum(t.numel() * t.element_size() for t in (*arguments, *results) if isinstance(t, Tensor))
    target, source = torch.empty(2, size // 2, dtype=torch.uint8, device=device).fill_(1)
    timed = partial(native, *arguments), partial(REFERENCES[name], *arguments), partial(target.copy_, source)
    return tuple(fastest(each, SECONDS, device) for each in timed)


if __name__ == "__main__":
    main()
