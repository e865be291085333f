"""Floating-point operations of convolutions and matrix products, and how many a machine does at best.

A multiply-add counts as two operations. A transposed convolution counts its taps once per input pixel, so an enlarging
3x3 layer has 9. Depthwise convolutions (low-pass filters) and own kernels count nothing, except those that replace a
convolution of PyTorch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import custom_ops  # noqa: F401  # whose operators are counted by name
from benchmarks.timing import fastest

PEAK_CHANNELS = (64, 128, 256, 512)
PEAK_SIZES = (8, 16, 32, 64)
PEAK_BATCHES = {"cpu": (1, 4, 16), "cuda": (16, 64, 256)}
PEAK_OPERATIONS = {"cpu": 5e10, "cuda": 5e12}  # of one convolution at most: larger ones only take longer
PEAK_SHARE = 1e-2  # of that at least, on CUDA: smaller convolutions do not keep a GPU busy
PEAK_SECONDS = 0.1  # for each shape


def count(call: Callable[[], Any]) -> int:
    """Operations of a call, with those of its backward passes."""
    with _Counter() as counter:
        call()
    return counter.operations


class _Counter(TorchDispatchMode):
    """Sees every operator below autograd. PyTorch's FlopCounterMode refuses the gradient of a leaf that R1 takes."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = FORMULAS.get(func.overloadpacket)
        self.operations += formula(args, out) if formula else 0
        return out


def _forward(args: Any, out: Tensor) -> int:
    x, w, _, _, _, _, transposed, _, groups = args[:9]
    return _convolution(w, groups, x if transposed else out)


def _backward(args: Any, out: Any) -> int:
    """The gradients of the input and of the weights take as many operations each as the convolution."""
    gradient, x, w, _, _, _, _, transposed, _, groups, wanted = args
    return sum(wanted[:2]) * _convolution(w, groups, x if transposed else gradient)


def _convolution(w: Tensor, groups: int, at: Tensor) -> int:
    """Every weight once for each pixel of `at` [N, C, H, W]. Zero for a depthwise convolution."""
    depthwise = groups > 1 and w.shape[1] == 1
    return 0 if depthwise else 2 * w.numel() * at.shape[0] * prod(at.shape[2:])


def _product(a: Tensor, b: Tensor) -> int:
    """Of matrices [..., M, K] and [..., K, N]."""
    return 2 * a.numel() * b.shape[-1]


_aten = torch.ops.aten
FORMULAS: dict[Any, Callable[[Any, Any], int]] = {
    _aten.convolution: _forward,
    _aten.convolution_backward: _backward,
    torch.ops.custom_ops.weight_gradient: lambda args, out: _convolution(out, 1, args[0]),
    _aten.mm: lambda args, out: _product(*args[:2]),
    _aten.bmm: lambda args, out: _product(*args[:2]),
    _aten.addmm: lambda args, out: _product(*args[1:3]),
    _aten.baddbmm: lambda args, out: _product(*args[1:3]),
}


@dataclass(frozen=True)
class Peak:
    """The fastest convolution that was found."""

    shape: str
    flops: float  # per second


def convolution_peak(device: torch.device, dtype: torch.dtype) -> Peak:
    """The fastest 3x3 convolution with 64 to 512 channels, over batches, sizes and memory formats.

    Measured in this process, with its number of threads.
    """
    kind = "cuda" if device.type == "cuda" else "cpu"
    most = PEAK_OPERATIONS[kind]
    least = most * PEAK_SHARE if kind == "cuda" else 0
    cases = product(PEAK_BATCHES[kind], PEAK_CHANNELS, PEAK_SIZES, (torch.contiguous_format, torch.channels_last))
    found = [_speed(*case, device, dtype) for case in cases if least <= _operations(*case[:3]) <= most]
    return max(found, key=lambda peak: peak.flops)


@torch.no_grad()
def _speed(
    batch: int, channels: int, size: int, layout: torch.memory_format, device: torch.device, dtype: torch.dtype
) -> Peak:
    x = torch.randn(batch, channels, size, size, device=device, dtype=dtype).to(memory_format=layout)
    w = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype).to(memory_format=layout)
    best = fastest(lambda: torch.conv2d(x, w, padding=1), PEAK_SECONDS, device)
    kind = "channels last" if layout == torch.channels_last else "channels first"
    name = f"{batch} images of {channels} x {size} x {size}, {str(dtype).removeprefix('torch.')}, {kind}"
    return Peak(name, _operations(batch, channels, size) / best)


def _operations(batch: int, channels: int, size: int) -> int:
    return 2 * 9 * channels**2 * batch * size**2
