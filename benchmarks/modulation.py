"""Which form of the modulated convolution is faster, and whether `Conv2DMod.prefers_grouped` knows it.

`python -m benchmarks.modulation --resolution 256 --batches 1,2,4`
"""

from functools import partial
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks.forms import Found, by_turns, table
from benchmarks.setting import Setting
from custom_ops import scale_bias_act
from models.stylegan2.generator import Generator, GeneratorBlock
from models.stylegan2.layers import memory_format
from models.stylegan2.modulation import Conv2DMod
from torch_utils.cli import Command, option, progress, say
from torch_utils.config import build
from torch_utils.device import keep_freed_memory, set_precision
from torch_utils.flags import flags, given

EXAMPLES = """
Examples:
  python -m benchmarks.modulation
  python -m benchmarks.modulation --resolution 256 --batches 1,4 --precision bf16
"""
FORMS = ("grouped", "scaled")


@click.command(cls=Command, epilog=EXAMPLES)
@option("--batches", default="1,2,8", group="Measurement", help="Batch sizes to try, with commas between.")
@option("--learning", is_flag=True, group="Measurement", help="With the pass backward; without, as for sampling.")
def main(batches: str, learning: bool, **params: Any) -> None:
    """Time both forms of every modulated convolution of a generator, by turns, and judge the rule that picks one."""
    setting = build(Setting, given(Setting, params)).resolved()
    cases = [
        (N, where, layer)
        for N in (int(n) for n in batches.split(","))
        for where, layer in convolutions(setting.recipe().G)
    ]
    torch.set_num_threads(setting.threads)
    set_precision(setting.recipe().config.arithmetic)
    keep_freed_memory()
    found = [compare(setting, N, *where, layer, learning) for N, where, layer in progress(cases, len(cases), "layers")]
    say(table(found))


def convolutions(G: Generator) -> list[tuple[tuple[tuple[int, int], torch.dtype], Conv2DMod]]:
    """Every modulated convolution once, with the size of its input and its type."""
    found = []
    for k, block in enumerate(G.synthesis.blocks):
        assert isinstance(block, GeneratorBlock)
        size = G.config.size_at(k)
        if block.conv0 is not None:
            found.append(((G.config.size_at(k - 1), block.dtype), block.conv0.conv))
        found.append(((size, block.dtype), block.conv1.conv))
        if block.rgb is not None:
            found.append(((size, block.dtype), block.rgb.conv))
    return found


def compare(
    setting: Setting, N: int, size: tuple[int, int], dtype: torch.dtype, layer: Conv2DMod, learning: bool
) -> Found:
    """Both forms of one layer, for a batch of N with an input of that size."""
    device = torch.device(setting.device)
    O, I, k, _ = layer.weight.shape
    x = torch.randn(N, I, *size, device=device, dtype=dtype).to(memory_format=memory_format(device))
    style = torch.randn(N, I, device=device)
    for t in (x, style, layer.weight):
        t.requires_grad_(learning)
    if not learning:
        layer.fold(dtype)
    seconds = by_turns({form: partial(apply, layer, form, x, style) for form in FORMS}, setting.iterations, device)
    name = f"{N:3} x {I} -> {O}, {k}x{k}{' up' if layer.up > 1 else ''}, {size[0]}x{size[1]}"
    return Found(name, seconds, "grouped" if layer.prefers_grouped(x) else "scaled")


def apply(layer: Conv2DMod, form: str, x: Tensor, style: Tensor) -> None:
    """One form with the scale that it leaves, forward and, where something is to be learned, backward."""
    with torch.set_grad_enabled(x.requires_grad):
        y, scale = getattr(layer, form)(x, style)
        y = scale_bias_act(y, scale, act="lrelu")
    if x.requires_grad:
        y.backward(torch.ones_like(y))


main.params += flags(Setting)

if __name__ == "__main__":
    main()
