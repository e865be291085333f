"""Pictures too large for memory: overlapping tiles with the statistics of the whole, so that no seam is visible."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from models.adain.network import AdaIN, Region
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


class Tiling:
    """A content picture in tiles, each with the features of a margin around it.

    Away from the frame of a tile the features and the result are those of the whole picture, because margins are as
    wide as the convolutions reach.

    Args:
        network: encoder and decoder.
        content: [1, 3, H, W] in [0, 1].
        tile: side of a tile's core in pixels, a multiple of the network's factor.
    """

    def __init__(self, network: AdaIN, content: Tensor, tile: int) -> None:
        self.network, self.content = network, content
        margin, (height, width) = network.config.margin, content.shape[-2:]
        self.places = [(y, x) for y in tiles_of(height, tile, margin) for x in tiles_of(width, tile, margin)]

    def features(self, y: Tile, x: Tile) -> Tensor:
        """The features of a tile with its margin."""
        return self.network.encode(self.content[..., y.start : y.end, x.start : x.end])

    def shrunk(self, mask: Tensor | None) -> Tensor:
        """A mask of the picture as weights of all its features; None counts all."""
        height, width = (-(-length // self.network.config.factor) for length in self.content.shape[-2:])
        if mask is None:
            return self.content.new_ones(1, 1, height, width)
        return F.adaptive_avg_pool2d(mask.to(self.content.dtype), (height, width))

    @torch.no_grad()
    def statistics(self, masks: Sequence[Tensor | None] = (None,)) -> list[Statistics]:
        """Mean and deviation of the whole picture's features within each mask, as of `AdaIN.statistics`."""
        config, content = self.network.config, self.content
        seen = [self.shrunk(mask).double() for mask in masks]
        zero = torch.zeros(1, config.widths[-1], 1, 1, dtype=torch.float64, device=content.device)
        sums = [[zero, zero] for _ in masks]
        for y, x in self.places:
            down, right = (_cells(each.first - each.start, each.last - each.start, config.factor) for each in (y, x))
            rows, columns = (_cells(each.first, each.last, config.factor) for each in (y, x))
            found = self.features(y, x)[..., down, right].double()
            for mask, both in zip(seen, sums, strict=True):
                weight = mask[..., rows, columns]
                for power, value in enumerate((found, found.square())):
                    both[power] = both[power] + (value * weight).sum((2, 3), keepdim=True)
        made = []
        for mask, (total, square) in zip(seen, sums, strict=True):
            count = float(mask.sum())
            variance = (square / count - (total / count).square()).clamp(min=0)
            variance = variance * (count / max(count - 1, count / 2) if config.unbiased else 1)
            made.append(Statistics((total / count).to(content.dtype), (variance + EPSILON).sqrt().to(content.dtype)))
        return made

    @torch.no_grad()
    def made(self, mix: Callable[[Tensor, tuple[slice, slice]], Tensor]) -> Iterator[Stylized]:
        """The tiles of the result. `mix` changes features; it gets their rows and columns among all features, too."""
        factor = self.network.config.factor
        for y, x in self.places:
            cells = _cells(y.start, y.end, factor), _cells(x.start, x.end, factor)
            made = self.network.decode(mix(self.features(y, x), cells), (y.end - y.start, x.end - x.start))
            inside = made[..., y.first - y.start : y.last - y.start, x.first - x.start : x.last - x.start]
            yield Stylized(slice(y.first, y.last), slice(x.first, x.last), inside)


def stylize_tiles(
    network: AdaIN,
    content: Tensor,
    styles: Sequence[Statistics],
    weights: Sequence[float],
    alpha: float,
    tile: int,
    regions: Sequence[Region] = (),
    follow: Callable[[list[Statistics]], list[Statistics]] = lambda own: own,
) -> Iterator[Stylized]:
    """A content picture in a mixture of styles, or with a style in each region, tile by tile.

    Every tile is encoded twice: once to add up the statistics of the whole picture, once to make it.

    Args:
        network, content, tile: as of `Tiling`.
        styles: statistics of each style's features.
        weights, alpha: as of `AdaIN.mix`; without meaning if there are regions.
        regions: as of `AdaIN.mix_regions`.
        follow: changes the statistics of the content, of each region or of the whole.
    """
    tiling = Tiling(network, content, tile)
    own = follow(tiling.statistics([region.mask for region in regions] or [None]))
    masks = [tiling.shrunk(region.mask) for region in regions]

    def mix(features: Tensor, cells: tuple[slice, slice]) -> Tensor:
        if not regions:
            return network.mix(features, styles, weights, alpha, own[0])
        rows, columns = cells
        here = [each._replace(mask=mask[..., rows, columns]) for each, mask in zip(regions, masks, strict=True)]
        return network.mix_regions(features, styles, here, own)

    return tiling.made(mix)


def _cells(first: int, last: int, factor: int) -> slice:
    """The features of pixels `first` ... `last` - 1."""
    return slice(first // factor, -(-last // factor))
