"""Pictures too large for memory: overlapping tiles with the statistics of the whole, so that no seam is visible."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from models.adain.network import AdaIN
from models.conditioning import EPSILON, Statistics


class Tile(NamedTuple):
    """A part of a picture along one axis: what is read, and what of it counts."""

    start: int
    end: int
    first: int  # of the core, which no other tile has
    last: int


def tiles_of(length: int, tile: int, margin: int) -> list[Tile]:
    """Tiles of an axis whose cores are `tile` long; margins surround them, except at the frame."""
    cores = range(0, length, tile)
    return [
        Tile(max(first - margin, 0), min(first + tile + margin, length), first, min(first + tile, length))
        for first in cores
    ]


class Stylized(NamedTuple):
    """A part of the result and its place."""

    rows: slice
    columns: slice
    pixels: Tensor  # [1, 3, h, w]


@torch.no_grad()
def stylize_tiles(
    network: AdaIN, content: Tensor, styles: list[Statistics], weights: list[float], alpha: float, tile: int
) -> Iterator[Stylized]:
    """A content picture in a mixture of styles, tile by tile.

    Every tile is encoded twice: once to add up the statistics of the whole picture, once to make it. Away from the
    frame of a tile the result is that of the whole picture, because margins are as wide as the convolutions reach.

    Args:
        network: encoder and decoder.
        content: [1, 3, H, W] in [0, 1].
        styles: statistics of each style's features.
        weights, alpha: as of `AdaIN.mix`.
        tile: side of a tile's core in pixels, a multiple of the network's factor.
    """
    config = network.config
    factor, margin = config.factor, config.margin
    height, width = content.shape[-2:]
    places = [(y, x) for y in tiles_of(height, tile, margin) for x in tiles_of(width, tile, margin)]

    def features(y: Tile, x: Tile) -> Tensor:
        return network.encode(content[..., y.start : y.end, x.start : x.end])

    count = 0
    total = square = torch.zeros(1, config.widths[-1], 1, 1, dtype=torch.float64, device=content.device)
    for y, x in places:
        found = features(y, x)[..., _core(y, factor), _core(x, factor)].double()
        count += found.shape[-2] * found.shape[-1]
        total = total + found.sum((2, 3), keepdim=True)
        square = square + found.square().sum((2, 3), keepdim=True)
    mean = total / count
    variance = (square / count - mean.square()).clamp(min=0) * (count / max(count - 1, 1) if config.unbiased else 1)
    own = Statistics(mean.to(content.dtype), (variance + EPSILON).sqrt().to(content.dtype))
    for y, x in places:
        mixed = network.mix(features(y, x), styles, weights, alpha, own)
        made = network.decode(mixed, (y.end - y.start, x.end - x.start))
        inside = made[..., y.first - y.start : y.last - y.start, x.first - x.start : x.last - x.start]
        yield Stylized(slice(y.first, y.last), slice(x.first, x.last), inside)


def _core(part: Tile, factor: int) -> slice:
    return slice((part.first - part.start) // factor, -(-(part.last - part.start) // factor))
