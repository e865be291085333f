"""Which form of the modulated convolution is faster, and whether `Conv2DMod.prefers_grouped` knows it.

`python -m benchmarks.modulation --resolution 256 --batches 1,2,4`
"""

from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks.setting import Setting
from benchmarks.timing import timed
from custom_ops import scale_bias_act
from models.stylegan2.generator import Generator, GeneratorBlock
from models.stylegan2.layers import Conv2DMod, memory_format
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


@dataclass(frozen=True)
class Found:
    """Seconds of both forms of one layer."""

    batch: int
    layer: Conv2DMod
    size: tuple[int, int]  # height and width of its input
    seconds: dict[str, float]
    choice: str  # the rule's

    @property
    def regret(self) -> float:
        """How much slower the rule's choice is than the faster form, 0 where they are the same."""
        return self.seconds[self.choice] / min(self.seconds.values()) - 1


def convolutions(G: Generator) -> list[tuple[tuple[tuple[int, int], torch.dtype], Conv2DMod]]:
    """Every modulated convolution once, with the size of its input and its type."""
    found = []
    for k, block in enumerate(G.synthesis.blocks):
        assert isinstance(block, GeneratorBlock)
        size = G.config.size_at(k)
        if block.conv0 is not None:
            found.append(((G.config.size_at(k - 1), block.dtype), block.conv0.conv))
        found += [((size, block.dtype), block.conv1.conv), ((size, block.dtype), block.rgb.conv)]
    return found


def compare(
    setting: Setting, N: int, size: tuple[int, int], dtype: torch.dtype, layer: Conv2DMod, learning: bool
) -> Found:
    """Medians over `setting.iterations` turns, after one that is not counted."""
    device = torch.device(setting.device)
    inputs = layer.weight.shape[1]
    x = torch.randn(N, inputs, *size, device=device, dtype=dtype).to(memory_format=memory_format(device, dtype))
    style = torch.randn(N, inputs, device=device)
    for t in (x, style, layer.weight):
        t.requires_grad_(learning)
    if not learning:
        layer.fold(dtype)
    calls = {form: partial(apply, layer, form, x, style) for form in FORMS}
    seconds: dict[str, list[float]] = {form: [] for form in FORMS}
    for i in range(setting.iterations + 1):
        for form, call in calls.items():
            duration = timed(call, device)
            if i:
                seconds[form].append(duration)
    choice = "grouped" if layer.prefers_grouped(x) else "scaled"
    return Found(N, layer, size, {form: median(s) for form, s in seconds.items()}, choice)


def apply(layer: Conv2DMod, form: str, x: Tensor, style: Tensor) -> None:
    """One form with the scale that it leaves, forward and, where something is to be learned, backward."""
    with torch.set_grad_enabled(x.requires_grad):
        y, scale = getattr(layer, form)(x, style)
        y = scale_bias_act(y, scale, act="lrelu")
    if x.requires_grad:
        y.backward(torch.ones_like(y))


def table(found: list[Found]) -> str:
    """All layers, and what the rule loses over all of them."""
    lines = [f"{'batch':>5}  {'layer':<28}  {'grouped, ms':>11}  {'scaled, ms':>11}  {'the rule':<8}  {'loses':>6}"]
    for f in found:
        O, I, k, _ = f.layer.weight.shape
        name = f"{I} -> {O}, {k}x{k}{' up' if f.layer.up > 1 else ''}, {f.size[0]}x{f.size[1]}"
        ms = [f.seconds[form] * 1e3 for form in FORMS]
        lines.append(f"{f.batch:5}  {name:<28}  {ms[0]:11.3f}  {ms[1]:11.3f}  {f.choice:<8}  {f.regret:6.1%}")
    best = sum(min(f.seconds.values()) for f in found)
    chosen = sum(f.seconds[f.choice] for f in found)
    alone = [sum(f.seconds[form] for f in found) / best - 1 for form in FORMS]
    lines.append("")
    lines.append(
        f"over the sum of the faster form of each layer: the rule {chosen / best - 1:.1%}, always grouped "
        f"{alone[0]:.1%}, always scaled {alone[1]:.1%}"
    )
    return "\n".join(lines)


main.params += flags(Setting)

if __name__ == "__main__":
    main()
