"""How long calls take, how many floating-point operations they are, and how many a machine does at best.

A multiply-add counts as two operations. A transposed convolution counts its taps once per input pixel, so an enlarging
3x3 layer has 9. Own kernels count nothing, except those that replace a convolution of PyTorch.
"""

import importlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from statistics import median
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop, sdpa_flop

from custom_ops.proof import LAYOUTS

PEAK_CHANNELS, PEAK_SIZES = (64, 128, 256, 512), (8, 16, 32, 64)
PEAK_BATCHES = {"cpu": (1, 4, 16), "cuda": (16, 64, 256)}
# Of one convolution: smaller ones do not keep a GPU busy, larger ones only take longer.
PEAK_OPERATIONS = {"cpu": (0, 5e10), "cuda": (5e10, 5e12)}
PEAK_SECONDS = 0.1  # for each shape
SHARE = 0.05  # of all operations: rarer products do not matter
ATTENTION: dict[Any, Any] = {  # on a CPU; PyTorch counts the other kinds
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_flop,
}
PRODUCTS = {torch.ops.aten.mm: 0, torch.ops.aten.addmm: 1}  # the place of the left matrix among the arguments
Products = Counter[tuple[int, int, int]]  # operations of all products [m, k] x [k, n]


def timed(call: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one call, with all that it started on the device."""
    wait = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(device.type, lambda: None)
    wait()
    start = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - start


def timings(calls: Mapping[str, Callable[[int], Any]], iterations: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each call over `iterations` rounds in which all take turns, after one that is not counted.

    Calls get the number of the round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for iteration in range(iterations + 1):
        for name, call in calls.items():
            seconds[name].append(timed(partial(call, iteration), device))
    return {name: median(durations[1:]) for name, durations in seconds.items()}


def fastest(call: Callable[[], Any], budget: float, device: torch.device) -> float:
    """The shortest duration of a call among as many as fit into `budget` seconds, after two calls to warm up.

    On CUDA, Triton measures: it clears the cache before each call, and Python starts the call in the meantime.
    """
    if device.type == "cuda":
        triton = importlib.import_module("triton.testing")
        return triton.do_bench(call, rep=int(budget * 1e3), return_mode="min") / 1e3
    call()
    call()
    end, best = time.perf_counter() + budget, timed(call, device)
    while time.perf_counter() < end:
        best = min(best, timed(call, device))
    return best


def operations(call: Callable[[], Any]) -> int:
    """Floating-point operations of a call, with those of its backward passes."""
    return counted(call)[0]


def counted(call: Callable[[], Any]) -> tuple[int, Products]:
    """Floating-point operations of a call, with those of its backward passes, and those of its matrix products."""
    with _Counter() as counter:
        call()
    return counter.operations, counter.products


class _Counter(TorchDispatchMode):
    """Sees every operator below autograd. PyTorch's FlopCounterMode refuses the gradient of a leaf that R1 takes."""

    def __init__(self) -> None:
        super().__init__()
        self.operations, self.products = 0, Products()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out, kind = func(*args, **(kwargs or {})), func.overloadpacket
        if kind in PRODUCTS:
            left, right = args[PRODUCTS[kind] :][:2]
            self._product(left.shape[0], left.shape[1], right.shape[1])
        elif kind is torch.ops.mkldnn._linear_pointwise:
            self._product(args[0].numel() // args[0].shape[-1], args[0].shape[-1], args[1].shape[0])
        elif kind is torch.ops.custom_ops.winograd:  # those of an ordinary convolution
            w, y = args[1], args[0] if args[3] else out
            self.operations += 2 * w.numel() * y.numel() // y.shape[1]
        elif kind in (torch.ops.custom_ops.weight_gradient, torch.ops.custom_ops.winograd_weights):
            self.operations += 2 * out.numel() * args[0].numel() // args[0].shape[1]
        elif kind in ATTENTION:
            self.operations += ATTENTION[kind](*args, out_val=out)
        elif kind in flop_registry:
            self.operations += flop_registry[kind](*args, **(kwargs or {}), out_val=out)
        return out

    def _product(self, m: int, k: int, n: int) -> None:
        self.operations += 2 * m * k * n
        self.products[m, k, n] += 2 * m * k * n


def product_peak(products: Products, device: torch.device, dtype: torch.dtype) -> tuple[str, float]:
    """The shape and operations per second of the fastest of the products that make up most of a count.

    Each is computed as a fully connected layer without bias computes it.
    """
    found = {}
    for (m, k, n), count in products.items():
        if count >= SHARE * products.total():
            x, w = (torch.randn(shape, device=device, dtype=dtype) for shape in ((m, k), (n, k)))
            with torch.no_grad():
                best = fastest(partial(torch.nn.functional.linear, x, w), PEAK_SECONDS, device)
            found[f"a product of {m} x {k} and {k} x {n}, {str(dtype).removeprefix('torch.')}"] = 2 * m * k * n / best
    return max(found.items(), key=lambda item: item[1])


def convolution_peak(device: torch.device, dtype: torch.dtype) -> tuple[str, float]:
    """The shape and operations per second of the fastest 3x3 convolution with 64 to 512 channels in this process."""
    kind = "cuda" if device.type == "cuda" else "cpu"
    found = {}
    for batch, C, size, layout in product(PEAK_BATCHES[kind], PEAK_CHANNELS, PEAK_SIZES, LAYOUTS):
        number = 2 * 9 * C**2 * batch * size**2
        if PEAK_OPERATIONS[kind][0] <= number <= PEAK_OPERATIONS[kind][1]:
            x, w = (
                torch.randn(shape, device=device, dtype=dtype).to(memory_format=LAYOUTS[layout])
                for shape in ((batch, C, size, size), (C, C, 3, 3))
            )
            with torch.no_grad():
                best = fastest(partial(torch.conv2d, x, w, padding=1), PEAK_SECONDS, device)
            name = f"{batch} images of {C} x {size} x {size}, {str(dtype).removeprefix('torch.')}, {layout}"
            found[f"a 3x3 convolution of {name}"] = number / best
    return max(found.items(), key=lambda item: item[1])
