"""Encoders and decoders on a CPU without gradients: faster and in less memory than layer by layer.

All layers of one size compute a band of rows before the next band, which keeps wide features in the cache. Features
are in channels_last, the layout that oneDNN multiplies fastest. A convolution after an enlargement multiplies the small
features with sums of its weights: 2 x 2 products for each of the four pixels that a small one becomes, not 3 x 3.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_ops import winograd
from models.compute import Conv2d

BAND = 2**22  # bytes of the widest features of a band
LEAST_ROWS = 16  # of a band for each of its convolutions, because neighboring bands compute some rows twice


def applies(x: Tensor) -> bool:
    """Whether `run` may take the place of the layers: on a CPU, without gradients, outside of compiled graphs."""
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def run(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """The output of the layers of an encoder or decoder for x [N, C, H, W], equal up to rounding."""
    for level in _levels(layers):
        x = _output(level, x) if isinstance(level, _Level) else level(x)
    return x


class _Product(NamedTuple):
    """A convolution. One of an enlarged input is [4 O, I, 2, 2], and makes four pixels of the small ones."""

    weight: Tensor
    bias: Tensor
    active: bool  # whether ReLU follows

    @property
    def size(self) -> int:
        """Side of the kernel."""
        return self.weight.shape[-1]

    @property
    def channels(self) -> int:
        """Of the output."""
        return len(self.bias) // (4 if self.size == 2 else 1)


class _Level(NamedTuple):
    """Layers of one size."""

    products: list[_Product]
    enlarged: bool  # at the beginning
    pooled: bool  # at the end


def _levels(layers: Iterable[nn.Module]) -> Iterator[_Level | nn.Module]:
    """Levels, and the layer that brings pictures into patches."""
    products: list[_Product] = []
    enlarged = False
    for layer, following in pairwise([*layers, None]):
        if isinstance(layer, nn.PixelUnshuffle):
            yield layer
        if isinstance(layer, Conv2d):
            products.append(_product(layer, enlarged and not products, isinstance(following, nn.ReLU)))
        if isinstance(layer, nn.MaxPool2d | nn.Upsample) or following is None:
            yield _Level(products, enlarged, pooled=isinstance(layer, nn.MaxPool2d))
            products, enlarged = [], isinstance(layer, nn.Upsample)


def _product(layer: Conv2d, enlarged: bool, active: bool) -> _Product:
    weight, bias = layer.weight, layer.bias
    assert bias is not None
    if enlarged:
        # Of three neighbors in the enlarged picture, two are the same small pixel: the last two for the first of two
        # pixels, the first two for the second.
        taps = weight.new_tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])  # [pixel, small pixel, tap]
        weight = torch.einsum("pak,qbl,oikl->pqoiab", taps, taps, weight).flatten(0, 2)
        bias = bias.repeat(4)
    kind = layer.compute or weight.dtype
    return _Product(weight.to(kind).contiguous(memory_format=torch.channels_last), bias.to(kind), active)


def _output(level: _Level, x: Tensor) -> Tensor:
    height, width = (size << level.enlarged for size in x.shape[2:])
    scale = 1 + level.pooled
    channels = [product.channels for product in level.products]
    shape = (len(x), channels[-1], -(-height // scale), -(-width // scale))
    out = torch.empty(shape, dtype=level.products[-1].weight.dtype, memory_format=torch.channels_last)
    rows = max(BAND // (len(x) * width * max(channels) * out.element_size()), LEAST_ROWS * len(level.products)) & ~1
    for first in range(0, height, rows):
        band = _band(level, x, first, min(first + rows, height))
        band = F.max_pool2d(band, 2, ceil_mode=True) if level.pooled else band
        out[:, :, first // scale :][:, :, : band.shape[2]] = band
    return out


def _band(level: _Level, x: Tensor, first: int, last: int) -> Tensor:
    """Rows of a level before pooling."""
    height = x.shape[2] << level.enlarged
    reach = sum(product.size == 3 for product in level.products)
    low, high = max(first - reach, 0), min(last + reach, height)  # the rows that `band` has
    if level.enlarged:
        low, high = low // 2, -(-high // 2)
        band = x[:, :, max(low - 1, 0) : high + 1]
        # Reflected enlarged rows are repeated small ones.
        band = F.pad(band, (1, 1, int(low == 0), int(high == x.shape[2])), mode="replicate")
        low, high = 2 * low, 2 * high
    else:
        band = x[:, :, low:high]
    for product in level.products:
        if product.size == 3:
            top, bottom = low == 0, high == height
            band = F.pad(band, (1, 1, int(top), int(bottom)), mode="reflect")
            low, high = low + (not top), high - (not bottom)
        band = _convolved(band, product)
        if product.size == 2:
            band = _interleaved(band)
    return band[:, :, first - low : last - low]


def _convolved(x: Tensor, product: _Product) -> Tensor:
    x = x.to(product.weight.dtype).contiguous(memory_format=torch.channels_last)
    if tile := winograd.tile(x, product.weight, (0, 0)):
        out = winograd.convolve(x, product.weight, 0, False, tile).add_(product.bias[:, None, None])
    else:
        out = F.conv2d(x, product.weight, product.bias)
    return out.relu_() if product.active else out


def _interleaved(pixels: Tensor) -> Tensor:
    """[N, 4 C, h + 1, w + 1], of each corner of small pixels those around it -> [N, C, 2 h, 2 w]."""
    height, width = pixels.shape[2] - 1, pixels.shape[3] - 1
    shape = (len(pixels), pixels.shape[1] // 4, 2 * height, 2 * width)
    out = torch.empty(shape, dtype=pixels.dtype, memory_format=torch.channels_last)
    for i, part in enumerate(pixels.chunk(4, dim=1)):
        row, column = divmod(i, 2)
        out[:, :, row::2, column::2] = part[:, :, row : row + height, column : column + width]
    return out
