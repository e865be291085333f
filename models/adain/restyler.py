"""Contents in their styles, as a user asks for them: the tiles of large pictures, regions, and colors that stay."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models.adain.choices import StyleTransferOptions
from models.adain.color import match_colors, with_colors_of
from models.adain.network import AdaIN, Region
from models.adain.tiles import Tiling, stylize_tiles
from models.conditioning import Statistics

WHOLE = 2**22  # pixels up to which a picture is made at once, unless --tile says otherwise
TILE = 1024  # side of the tiles of larger ones

Follow = Callable[[list[Statistics]], list[Statistics]]


class StyleRestyler:
    """A network, its pictures made as `stylize.py` makes them; as of `models.restyling.Restyler`."""

    options = StyleTransferOptions

    def __init__(self, net: AdaIN) -> None:
        self.net = net

    def adapts(self, options: StyleTransferOptions) -> bool:
        """Whether a style gets the colors of the content first."""
        return options.color == "match"

    def measure(self, style: Tensor, content: Tensor, options: StyleTransferOptions) -> Statistics:
        """The statistics of a style for a content."""
        return measure(self.net, style, content, options.color)

    def restyle(
        self,
        content: Tensor,
        styles: Sequence[Statistics],
        shares: Sequence[float],
        masks: Sequence[Tensor],
        options: StyleTransferOptions,
    ) -> Tensor:
        """A content in its styles."""
        return make(self.net, content, list(styles), shares, masks, options.alpha, options.color)


def measure(net: AdaIN, style: Tensor, content: Tensor, color: str) -> Statistics:
    """The statistics of a style [1, 3, H, W]; with the `color` "match" it first gets the colors of the content."""
    if color == "match":
        style = match_colors(style[0], content[0])[None]
    style = style.to(next(net.parameters()).device)
    if is_whole(style):
        return net.measure(style)
    return Tiling(net, style, side_of(None, net)).statistics()[0]


def is_whole(colors: Tensor) -> bool:
    """Whether a picture is small enough to be computed at once."""
    return colors.shape[-2] * colors.shape[-1] <= WHOLE


def side_of(tile: int | None, net: AdaIN) -> int:
    """The side of tiles, rounded up to a multiple of the network's factor."""
    return -(-(tile or TILE) // net.config.factor) * net.config.factor


def make(
    net: AdaIN,
    content: Tensor,
    styles: list[Statistics],
    shares: Sequence[float],
    masks: Sequence[Tensor] = (),
    alpha: float = 1.0,
    color: str = "no",
    tile: int | None = None,
    follow: Follow = lambda own: own,
) -> Tensor:
    """A content [1, 3, H, W] in its styles, of the same shape, not clamped.

    Args:
        net, content: the network, and the picture in [0, 1].
        styles: statistics of each.
        shares, masks: as of `models.restyling.Restyler.restyle`.
        alpha, color: as of `StyleTransferOptions`.
        tile: side of tiles in pixels; None: by the size of the picture.
        follow: changes the statistics of the content, of each region or of the whole.
    """
    colors = content.to(next(net.parameters()).device)
    regions = [Region(mask.to(colors.device), k, alpha * shares[k]) for k, mask in enumerate(masks)]
    if tile or not is_whole(colors):
        made = torch.empty_like(colors)
        for part in stylize_tiles(net, colors, styles, shares, alpha, side_of(tile, net), regions, follow):
            made[..., part.rows, part.columns] = part.pixels
    else:
        features = net.encode(colors)
        own = follow([net.statistics(features, region.mask) for region in regions] or [net.statistics(features)])
        if regions:
            mixed = net.mix_regions(features, styles, regions, own)
        else:
            mixed = net.mix(features, styles, shares, alpha, own[0])
        made = net.decode(mixed, colors.shape)
    return with_colors_of(made, colors) if color == "luminance" else made
