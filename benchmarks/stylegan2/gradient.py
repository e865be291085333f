"""Two ways to the gradient of a convolution's weights, and whether `prefers_products` chooses the faster one.

`python -m benchmarks.stylegan2.gradient --resolution 256 --batch 4`
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import click
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.stylegan2.setting import Setting
from benchmarks.stylegan2.step import take
from benchmarks.timing import timings
from custom_ops.weight_gradient import prefers_products, weight_gradient
from torch_utils.cli import Command, progress, say
from torch_utils.config import build
from torch_utils.flags import flags, given

EXAMPLES = """
Examples:
  python -m benchmarks.stylegan2.gradient
  python -m benchmarks.stylegan2.gradient --resolution 256 --batch 4
"""

_aten = torch.ops.aten


@click.command(cls=Command, epilog=EXAMPLES)
def main(**params: Any) -> None:
    """Time both ways for every convolution that Gmain and Dmain differentiate, by turns, and judge the rule.

    On a CPU in float32: PyTorch's convolution library, and matrix products.
    """
    setting = build(Setting, given(Setting, params | {"device": "cpu", "precision": "fp32"})).resolved()
    cases = differentiated(setting)
    bar = progress(cases.items(), len(cases), "layers")
    say(table([compare(case, times, setting.iterations) for case, times in bar]))


class Case(NamedTuple):
    """The gradient of a convolution's weights."""

    gy: tuple[int, ...]
    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: tuple[int, int]
    padding: tuple[int, int]
    transposed: bool

    def __str__(self) -> str:
        (N, I, H, W), (rows, columns) = self.x, self.w[2:]
        way = " up" if self.transposed else " down" if self.stride[0] > 1 else ""
        return f"{N:3} x {I} -> {self.gy[1]}, {rows}x{columns}{way}, {H}x{W}"


@dataclass(frozen=True)
class Found:
    """Seconds of both ways for one layer."""

    layer: str
    seconds: dict[str, float]
    choice: str  # of the rule
    times: int  # how often a step computes it

    @property
    def regret(self) -> float:
        """How much slower the rule's choice is than the faster way; 0 if the choice is the faster way."""
        return self.seconds[self.choice] / min(self.seconds.values()) - 1


def differentiated(setting: Setting) -> Counter[Case]:
    """The gradients that one Gmain and one Dmain compute, and how often."""
    setting.prepare()
    recipe = setting.recipe()
    with _Watch() as watch:
        for phase in recipe.phases:
            if phase.name in ("Gmain", "Dmain"):
                take(recipe, phase, 1)
    return watch.seen


class _Watch(TorchDispatchMode):
    """Sees every gradient of a convolution's weights, except those of 1x1 kernels, which have one way only."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[Case] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket is _aten.convolution_backward:
            gy, x, w, _, stride, padding, _, transposed, _, groups, wanted = args
            if wanted[1] and groups == 1 and w.shape[2] > 1:
                self._see(gy, x, tuple(w.shape), stride, padding, transposed)
        elif func.overloadpacket is torch.ops.custom_ops.weight_gradient:
            gy, x, kernel, stride, padding = args
            self._see(gy, x, (gy.shape[1], x.shape[1], *kernel), stride, padding, False)
        return func(*args, **(kwargs or {}))

    def _see(self, gy: Tensor, x: Tensor, w: tuple[int, ...], stride: Any, padding: Any, transposed: bool) -> None:
        self.seen[Case(tuple(gy.shape), tuple(x.shape), w, tuple(stride), tuple(padding), transposed)] += 1


def compare(case: Case, times: int, iterations: int) -> Found:
    """Time both ways to one gradient."""
    gy, x, w = (torch.randn(shape).contiguous(memory_format=torch.channels_last) for shape in case[:3])
    _, _, _, stride, padding, transposed = case
    geometry = (stride, padding, (1, 1), transposed, (0, 0), 1, (False, True, False))
    small, large = (x, gy) if transposed else (gy, x)
    kernel = (w.shape[2], w.shape[3])
    library = partial(_aten.convolution_backward, gy, x, w, None, *geometry)
    products = partial(weight_gradient, small, large, kernel, stride, padding)
    calls = {"library": lambda _: library(), "products": lambda _: products()}
    seconds = timings(calls, iterations, torch.device("cpu"))
    return Found(str(case), seconds, "products" if prefers_products(small, large, kernel) else "library", times)


def table(found: Sequence[Found]) -> str:
    """All layers, and how much time the rule loses over all of them."""
    ways = list(found[0].seconds)
    heads = "".join(f"  {way + ', ms':>13}" for way in ways)
    lines = [f"{'layer':<40}{heads}  {'the rule':<9}  {'loses':>6}"]
    for f in found:
        ms = "".join(f"  {f.seconds[way] * 1e3:13.3f}" for way in ways)
        lines.append(f"{f.layer:<40}{ms}  {f.choice:<9}  {f.regret:6.1%}")
    best = sum(f.times * min(f.seconds.values()) for f in found)
    chosen = sum(f.times * f.seconds[f.choice] for f in found)
    alone = [f"always {way} {sum(f.times * f.seconds[way] for f in found) / best - 1:.1%}" for way in ways]
    total = ", ".join([f"the rule {chosen / best - 1:.1%}", *alone])
    return "\n".join([*lines, "", f"slower than the faster way to each layer, in total: {total}"])


main.params += flags(Setting)

if __name__ == "__main__":
    main()
