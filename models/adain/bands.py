"""Encoders and decoders without gradients on a CPU: band by band of rows, in the layout that it multiplies fastest.

A picture's widest features need most of the memory. So all layers of one size compute a band of rows before the next,
which then stays in the cache. A convolution after an enlargement computes each of the four pixels that an enlarged one
becomes from 2 x 2 pixels, with sums of the weights that meet the same pixel: 4 products in the place of 9.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.compute import Conv2d

BAND = 2**23  # bytes of the features of a band
LEAST_ROWS = 16  # of a band, for each convolution: neighboring bands compute some rows twice


@dataclass
class Level:
    """Layers at one size: an enlargement or none, convolutions, pooling or none."""

    enlarged: bool = False
    convs: list[Conv2d] = field(default_factory=list)
    active: list[bool] = field(default_factory=list)  # whether ReLU follows
    pooled: bool = False


def levels_of(layers: Iterable[nn.Module]) -> list[Level]:
    """The layers of an encoder or decoder by size."""
    found = [Level()]
    for layer in layers:
        if isinstance(layer, nn.MaxPool2d):
            found[-1].pooled = True
            found.append(Level())
        elif isinstance(layer, nn.Upsample):
            found.append(Level(enlarged=True))
        elif isinstance(layer, nn.ReLU):
            found[-1].active[-1] = True
        elif isinstance(layer, Conv2d):
            found[-1].convs.append(layer)
            found[-1].active.append(False)
    return found


@torch.no_grad()
def run(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """What the layers make of x, [N, C, H, W]."""
    for level in levels_of(layers):
        x = _run_level(level, x)
    return x


def _run_level(level: Level, x: Tensor) -> Tensor:
    height, width = (size << level.enlarged for size in x.shape[2:])
    weights = [_weights(conv, level.enlarged and not i) for i, conv in enumerate(level.convs)]
    row = len(x) * width * max(conv.out_channels for conv in level.convs) * x.element_size()
    rows = max(BAND // row, LEAST_ROWS * len(level.convs)) & ~1
    shrink = 1 + level.pooled
    shape = (len(x), level.convs[-1].out_channels, -(-height // shrink), -(-width // shrink))
    out = torch.empty(shape, dtype=weights[-1][0].dtype, memory_format=torch.channels_last)
    for first in range(0, height, rows):
        band = _band(level, weights, x, first, min(first + rows, height))
        if level.pooled:
            band = F.max_pool2d(band, 2, ceil_mode=True)
        out[:, :, first // shrink : first // shrink + band.shape[2]] = band
    return out


def _weights(conv: Conv2d, enlarged: bool) -> tuple[Tensor, Tensor]:
    """Weight and bias in the type of the product; for an enlarged input those of its four pixels."""
    weight, bias = conv.weight, conv.bias
    assert bias is not None
    if enlarged:
        pair = weight.new_tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])  # [pixel, tap, tap of the weight]
        weight = torch.einsum("pak,qbl,oikl->pqoiab", pair, pair, weight).flatten(0, 2)
        bias = bias.repeat(4)
    kind = conv.compute or weight.dtype
    return weight.to(kind).contiguous(memory_format=torch.channels_last), bias.to(kind)


def _band(level: Level, weights: list[tuple[Tensor, Tensor]], x: Tensor, first: int, last: int) -> Tensor:
    """Rows of a level before pooling."""
    height = x.shape[2] << level.enlarged
    reach = sum(conv.kernel_size[0] // 2 for conv in level.convs[level.enlarged :])
    low, high = max(first - reach, 0), min(last + reach, height)  # the rows that y has
    if level.enlarged:
        low, high = low // 2, -(-high // 2)
        y = x[:, :, max(low - 1, 0) : high + 1]
        # Reflected enlarged rows are replicated ones.
        y = F.pad(y, (1, 1, int(low == 0), int(high == x.shape[2])), mode="replicate")
        low, high = 2 * low, 2 * high
    else:
        y = x[:, :, low:high]
    for i, (conv, (weight, bias)) in enumerate(zip(level.convs, weights, strict=True)):
        if level.enlarged and not i:
            y = _interleaved(_product(y, weight, bias, level.active[i]))
            continue
        if conv.kernel_size[0] == 3:
            top, bottom = low == 0, high == height
            y = F.pad(y, (1, 1, int(top), int(bottom)), mode="reflect")
            low, high = low + (not top), high - (not bottom)
        y = _product(y, weight, bias, level.active[i])
    return y[:, :, first - low : last - low]


def _product(x: Tensor, weight: Tensor, bias: Tensor, active: bool) -> Tensor:
    y = F.conv2d(x.to(weight.dtype).contiguous(memory_format=torch.channels_last), weight, bias)
    return y.relu_() if active else y


def _interleaved(y: Tensor) -> Tensor:
    """[N, 4 C, h + 1, w + 1] of the four pixels -> [N, C, 2 h, 2 w]."""
    height, width = y.shape[2] - 1, y.shape[3] - 1
    shape = (len(y), y.shape[1] // 4, 2 * height, 2 * width)
    out = torch.empty(shape, dtype=y.dtype, memory_format=torch.channels_last)
    for i, part in enumerate(y.chunk(4, dim=1)):
        row, column = divmod(i, 2)
        out[:, :, row::2, column::2] = part[:, :, row : row + height, column : column + width]
    return out
