"""What a user asks of stylize.py, and how one picture is made so."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from models.adain.color import match_colors, with_colors_of
from models.adain.network import AdaIN, Region
from models.adain.tiles import Tiling, stylize_tiles
from models.conditioning import Statistics
from sampling.adain.pictures import Picture, read, read_regions

WHOLE = 2**22  # pixels up to which a picture is made at once, unless --tile says otherwise
TILE = 1024  # side of the tiles of larger ones

Follow = Callable[[list[Statistics]], list[Statistics]]


class Wish(NamedTuple):
    """How pictures are made."""

    alpha: float
    color: str  # no, luminance or match
    tile: int | None  # side of tiles; None: by the size of the picture
    mask: Path | None
    feather: float
    strengths: list[float] | None  # of each region; None: 1
    weights: list[float] | None  # of the styles; their sum is 1

    def masks(self, size: tuple[int, int], styles: int) -> list[Tensor]:
        """The masks of the regions of a picture of `size` (height, width); none without --mask. Raises ValueError."""
        return [] if self.mask is None else read_regions(self.mask, size, styles, self.feather)


class Styles:
    """The styles of a job, measured when they are first needed.

    Args:
        net: measures them.
        wish: --preserve-color match gives a style the colors of each content.
    """

    def __init__(self, net: AdaIN, wish: Wish) -> None:
        self.net, self.wish = net, wish
        self._kept: dict[Path, Statistics] = {}  # of styles whose colors are their own

    def measured(self, path: Path, content: Picture) -> Statistics:
        """The statistics of a style for a content."""
        if self.wish.color == "match":
            return self.measure(read(path, "--style").colors, content)
        if path not in self._kept:
            self._kept[path] = self.measure(read(path, "--style").colors, content)
        return self._kept[path]

    def measure(self, colors: Tensor, content: Picture) -> Statistics:
        """The statistics of a style of these colors [1, 3, H, W] for a content."""
        if self.wish.color == "match":
            colors = match_colors(colors[0], content.colors[0])[None]
        colors = colors.to(next(self.net.parameters()).device)
        if is_whole(colors):
            return self.net.measure(colors)
        return Tiling(self.net, colors, side_of(None, self.net)).statistics()[0]


def is_whole(colors: Tensor) -> bool:
    """Whether a picture is small enough to be computed at once."""
    return colors.shape[-2] * colors.shape[-1] <= WHOLE


def side_of(tile: int | None, net: AdaIN) -> int:
    """The side of tiles, rounded up to a multiple of the network's factor."""
    return -(-(tile or TILE) // net.config.factor) * net.config.factor


def make(
    net: AdaIN, content: Picture, styles: list[Statistics], wish: Wish, follow: Follow = lambda own: own
) -> Tensor:
    """A content in its styles, [1, 3, H, W], not clamped. `follow` changes the statistics of the content."""
    colors = content.colors.to(next(net.parameters()).device)
    alphas = wish.strengths or [1.0] * len(styles)
    masks = wish.masks(content.size, len(styles))
    regions = [Region(mask.to(colors.device), k, wish.alpha * alphas[k]) for k, mask in enumerate(masks)]
    weights = wish.weights or [1.0]
    if wish.tile or not is_whole(colors):
        made = torch.empty_like(colors)
        side = side_of(wish.tile, net)
        for part in stylize_tiles(net, colors, styles, weights, wish.alpha, side, regions, follow):
            made[..., part.rows, part.columns] = part.pixels
    else:
        features = net.encode(colors)
        own = follow([net.statistics(features, region.mask) for region in regions] or [net.statistics(features)])
        if regions:
            mixed = net.mix_regions(features, styles, regions, own)
        else:
            mixed = net.mix(features, styles, weights, wish.alpha, own[0])
        made = net.decode(mixed, colors.shape)
    return with_colors_of(made, colors) if wish.color == "luminance" else made


class Smoothing:
    """Statistics of a video's frames that follow slowly: a share of the last ones, the rest of the new ones."""

    def __init__(self, share: float) -> None:
        self.share = share
        self._own: list[Statistics] | None = None

    def __call__(self, now: list[Statistics]) -> list[Statistics]:
        """The statistics to use for a frame that has those of `now`, one for each region."""
        if self.share and self._own is not None:
            pairs = zip(now, self._own, strict=True)
            now = [Statistics(*(a.lerp(b, self.share) for a, b in zip(new, old, strict=True))) for new, old in pairs]
        self._own = now
        return now
