"""What a user asks of stylize.py, and how one picture is made so."""

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from models.adain import restyler
from models.adain.network import AdaIN
from models.conditioning import Statistics
from sampling.originals import Picture, read, read_regions


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
        return restyler.measure(self.net, colors, content.colors, self.wish.color)


def make(
    net: AdaIN,
    content: Picture,
    styles: list[Statistics],
    wish: Wish,
    follow: restyler.Follow = lambda own: own,
) -> Tensor:
    """A content in its styles, [1, 3, H, W], not clamped. `follow` changes the statistics of the content."""
    masks = wish.masks(content.size, len(styles))
    shares = (wish.strengths if masks else wish.weights) or [1.0] * len(styles)
    return restyler.make(net, content.colors, styles, shares, masks, wish.alpha, wish.color, wish.tile, follow)


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
