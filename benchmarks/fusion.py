"""Two ways to do more in one pass around an enlarging convolution, neither of which is taken, and what they are worth.

`python -m benchmarks.fusion --resolution 256 --batch 4`

The epilogue (demodulation, noise, bias, activation) could follow in the same pass as the low-pass filter. The features
would be written and read once less on the way forward, and once less on the way back: at most, that saves the time of
two copies of them.

The transposed convolution could be one ordinary convolution that computes the four places of each output pixel as
channels (Shi et al. 2016, section 3.2), so that a filter could follow in place. It has 16 taps where there were 9.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
import torch
from torch import Tensor
from torch.nn.functional import pad, pixel_shuffle

from benchmarks.forms import by_turns
from benchmarks.modulation import apply, convolutions
from benchmarks.setting import Setting
from custom_ops.convolution import convolve, convolve_transposed
from models.stylegan2.layers import memory_format
from models.stylegan2.modulation import Conv2DMod
from torch_utils.cli import Command, progress, say
from torch_utils.config import build
from torch_utils.device import keep_freed_memory, set_precision
from torch_utils.flags import flags, given

EXAMPLES = """
Examples:
  python -m benchmarks.fusion
  python -m benchmarks.fusion --resolution 256 --batch 4 --precision bf16
"""


@click.command(cls=Command, epilog=EXAMPLES)
def main(**params: Any) -> None:
    """Time every enlarging layer of a generator forward and backward, and what two fusions would make of it."""
    setting = build(Setting, given(Setting, params)).resolved()
    torch.set_num_threads(setting.threads)
    recipe = setting.recipe()
    set_precision(recipe.config.arithmetic)
    keep_freed_memory()
    cases = [(where, layer) for where, layer in convolutions(recipe.G) if layer.up == 2]
    found = [compare(setting, *where, layer) for where, layer in progress(cases, len(cases), "layers")]
    say(table(found))


@dataclass(frozen=True)
class Worth:
    """Seconds of one enlarging layer and its parts, forward and backward."""

    layer: str
    whole: float  # the layer with its filter and epilogue
    copy: float  # of its features
    transposed: float  # the convolution, as it is computed
    phases: float  # the same as one ordinary convolution

    @property
    def saved(self) -> float:
        """Share of the layer's time that an epilogue in the filter's pass could save at the most."""
        return 2 * self.copy / self.whole


def compare(setting: Setting, size: tuple[int, int], dtype: torch.dtype, layer: Conv2DMod) -> Worth:
    """One layer whose input has that size."""
    device, N = torch.device(setting.device), setting.batch
    O, I, rows, columns = layer.weight.shape
    layout = memory_format(device)
    x = torch.randn(N, I, *size, device=device, dtype=dtype).to(memory_format=layout).requires_grad_()
    style = torch.randn(N, I, device=device, requires_grad=True)
    layer.weight.requires_grad_()
    w = torch.randn(I, O, rows, columns, device=device, dtype=dtype, requires_grad=True)
    features = torch.randn(2, N, O, 2 * size[0], 2 * size[1], device=device).to(dtype)
    calls: dict[str, Callable[[], Any]] = {
        "whole": partial(apply, layer, "scaled", x, style),
        "copy": partial(features[0].copy_, features[1]),
        "transposed": partial(_differentiate, transposed, x, w),
        "phases": partial(_differentiate, phases, x, w),
    }
    seconds = by_turns(calls, setting.iterations, device)
    return Worth(f"{N:3} x {I} -> {O}, {size[0]}x{size[1]}", **seconds)


def transposed(x: Tensor, w: Tensor) -> Tensor:
    """x [N, I, H, W] and w [I, O, 3, 3] -> [N, O, 2 H + 1, 2 W + 1], as `torch.conv_transpose2d` with stride 2."""
    return convolve_transposed(x, w, stride=2, groups=1)


def phases(x: Tensor, w: Tensor) -> Tensor:
    """The same as one convolution with kernels of 2x2, whose four outputs are interleaved."""
    H, W = x.shape[2:]
    I, O = w.shape[:2]
    taps = pad(w, (0, 1, 0, 1)).reshape(I, O, 2, 2, 2, 2)  # [I, O, earlier pixel, its place, the same of columns]
    kernels = taps.flip([2, 4]).permute(1, 3, 5, 0, 2, 4).reshape(4 * O, I, 2, 2)
    y = convolve(x, kernels, stride=1, padding=(1, 1), groups=1)
    return pixel_shuffle(y, 2)[:, :, : 2 * H + 1, : 2 * W + 1]


def _differentiate(form: Callable[[Tensor, Tensor], Tensor], x: Tensor, w: Tensor) -> None:
    y = form(x, w)
    torch.autograd.grad(y, (x, w), torch.ones_like(y))


def table(found: Sequence[Worth]) -> str:
    """All layers, and what both fusions would be worth over all of them."""
    heads = ("layer, ms", "2 copies, ms", "saved, most", "transposed, ms", "4 phases, ms", "times")
    lines = [f"{'enlarging layer':<28}" + "".join(f"  {head:>14}" for head in heads)]
    total = [sum(getattr(f, name) for f in found) for name in ("whole", "copy", "transposed", "phases")]
    for f in (*found, Worth("all", *total)):
        cells = (f.whole * 1e3, f.copy * 2e3, f.saved, f.transposed * 1e3, f.phases * 1e3, f.phases / f.transposed)
        formats = ("14.2f", "14.2f", "14.1%", "14.2f", "14.2f", "14.2f")
        row = "".join(f"  {cell:{how}}" for cell, how in zip(cells, formats, strict=True))
        lines.append(f"{f.layer:<28}{row}")
    return "\n".join(lines)


main.params += flags(Setting)

if __name__ == "__main__":
    main()
