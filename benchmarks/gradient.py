"""Which way to the gradient of a convolution's weights is faster, and whether `prefers_products` knows it.

`python -m benchmarks.gradient --resolution 256 --batch 4`
"""

from collections import Counter
from functools import partial
from typing import Any, NamedTuple

import click
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.forms import Found, by_turns, table
from benchmarks.setting import Setting
from benchmarks.step import take
from custom_ops.weight_gradient import prefers_products, weight_gradient
from torch_utils.cli import Command, progress, say
from torch_utils.config import build
from torch_utils.device import keep_freed_memory, set_precision
from torch_utils.flags import flags, given

EXAMPLES = """
Examples:
  python -m benchmarks.gradient
  python -m benchmarks.gradient --resolution 256 --batch 4
"""

_aten = torch.ops.aten


@click.command(cls=Command, epilog=EXAMPLES)
def main(**params: Any) -> None:
    """Time both ways for every convolution that Gmain and Dmain differentiate, by turns, and judge the rule.

    On a CPU in float32: by PyTorch's convolution library, and as matrix products.
    """
    setting = build(Setting, given(Setting, params | {"device": "cpu", "precision": "fp32"})).resolved()
    torch.set_num_threads(setting.threads)
    keep_freed_memory()
    cases = differentiated(setting)
    bar = progress(cases.items(), len(cases), "layers")
    say(table([compare(case, times, setting.iterations) for case, times in bar]))


class Case(NamedTuple):
    """The gradient of some convolution's weights."""

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


def differentiated(setting: Setting) -> Counter[Case]:
    """What one Gmain and one Dmain compute of such gradients, and how often."""
    recipe = setting.recipe()
    set_precision(recipe.config.arithmetic)
    with _Watch() as watch:
        for phase in recipe.phases:
            if phase.name in ("Gmain", "Dmain"):
                take(recipe, phase, 1)
    return watch.seen


class _Watch(TorchDispatchMode):
    """Sees every gradient of a convolution's weights, whichever way it is computed; 1x1 kernels have but one."""

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
    """Both ways to one gradient."""
    gy, x, w = (torch.randn(shape).contiguous(memory_format=torch.channels_last) for shape in case[:3])
    _, _, _, stride, padding, transposed = case
    geometry = (stride, padding, (1, 1), transposed, (0, 0), 1, (False, True, False))
    small, large = (x, gy) if transposed else (gy, x)
    kernel = (w.shape[2], w.shape[3])
    calls = {
        "library": partial(_aten.convolution_backward, gy, x, w, None, *geometry),
        "products": partial(weight_gradient, small, large, kernel, stride, padding),
    }
    seconds = by_turns(calls, iterations, torch.device("cpu"))
    return Found(str(case), seconds, "products" if prefers_products(small, large, kernel) else "library", times)


main.params += flags(Setting)

if __name__ == "__main__":
    main()
