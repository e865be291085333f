"""Convolutions of 3x3 weights with stride 1 by Winograd's algorithm, which needs a quarter of the products.

F(m x m, 3 x 3) computes tiles of m x m outputs by (m + 2)^2 products for each pair of channels instead of 9 m^2: 2.25
times fewer for m = 2, four times fewer for m = 4 (Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural
Networks"). The kernels are `winograd.cpp`, `winograd_tiles.h` and `winograd_product.h`; `reference` and
`reference_weights` are the same in plain PyTorch.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from custom_ops import build

_CAPABLE = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
_CHANNELS = 32  # numbers of channels are multiples of this
_MOST_WEIGHTS = 2**18  # pairs of channels: a thread keeps 70 MB of scratch memory for so many
_LEAST_WORK = 2**23  # pairs of channels times pixels: smaller layers, as of the bundled network, keep their bits


def reference(x: Tensor, w: Tensor, padding: int, turned: bool, *_: Any) -> Tensor:
    f = F.conv_transpose2d if turned else F.conv2d
    return f(x, w, padding=padding).contiguous(memory_format=torch.channels_last)


def reference_weights(gy: Tensor, x: Tensor, padding: int, *_: Any) -> Tensor:
    w = x.new_empty(gy.shape[1], x.shape[1], 3, 3)
    arguments = (1, 1), (padding, padding), (1, 1), False, (0, 0), 1, (False, True, False)
    gw = torch.ops.aten.convolution_backward(gy, x, w, None, *arguments)[1]
    return gw.contiguous(memory_format=torch.channels_last)


OPERATORS: dict[str, tuple[str, Callable[..., Any]]] = {  # schemas, and references in plain PyTorch
    # y [N, O, H', W'] of x [N, I, H, W] and w [O, I, 3, 3]. `turned`: the gradient of x, from that of y in place of x.
    # `padding` is that of y in both cases. `tile` is 2 or 4. Every number of channels is a multiple of 32.
    "winograd": ("(Tensor x, Tensor w, int padding, bool turned, int tile) -> Tensor", reference),
    "winograd_weights": ("(Tensor gy, Tensor x, int padding, int tile) -> Tensor", reference_weights),
}
for _name, (_schema, _reference) in OPERATORS.items():
    torch.library.define(f"custom_ops::{_name}", _schema)
    torch.library.impl(f"custom_ops::{_name}", "CompositeExplicitAutograd", _reference)


@torch.library.register_fake("custom_ops::winograd")
def _(x: Tensor, w: Tensor, padding: int, turned: bool, tile: int) -> Tensor:
    more = 2 - 2 * padding if turned else 2 * padding - 2
    size = x.shape[0], w.shape[1 if turned else 0], x.shape[2] + more, x.shape[3] + more
    return x.new_empty(size).contiguous(memory_format=torch.channels_last)


@torch.library.register_fake("custom_ops::winograd_weights")
def _(gy: Tensor, x: Tensor, padding: int, tile: int) -> Tensor:
    return x.new_empty(gy.shape[1], 3, 3, x.shape[1]).permute(0, 3, 1, 2)


convolve = torch.ops.custom_ops.winograd.default
gradient_of_weights = torch.ops.custom_ops.winograd_weights.default


def tile(x: Tensor, w: Tensor, padding: tuple[int, int]) -> int:
    """The tile of the convolution of x with w, of stride 1 and one group: 4, 2, or 0 to convolve in the ordinary way.

    It depends on the layer and the size of its images, and not on the batch: a picture has the same bits in any batch.
    Tiles of 4 err by twice as much as ordinary convolutions. Tiles of 2 err by less, and are faster below 16x16.
    """
    (O, I, *kernel), (_, _, H, W), (top, left) = w.shape, x.shape, padding
    if kernel != [3, 3] or top != left or top > 2 or O % _CHANNELS or I % _CHANNELS or O * I > _MOST_WEIGHTS:
        return 0
    height, width = H + 2 * top - 2, W + 2 * left - 2
    if min(height, width) < 8 or O * I * height * width < _LEAST_WORK or not x.numel():
        return 0
    if not _CAPABLE or x.device.type != "cpu" or not x.dtype == w.dtype == torch.float32:
        return 0
    if not x.is_contiguous(memory_format=torch.channels_last) or not build.load("cpu"):
        return 0
    return 4 if min(height, width) >= 16 else 2
