"""Style transfer in Python."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image

from models.adain.encoderfiles import BUNDLED
from models.adain.family import FAMILY
from models.families import read_network
from sampling.adain.wishes import Styles, Wish, make
from sampling.originals import Picture, of_image, read, to_image
from torch_utils.device import resolve_device, switches

Drawn = Image.Image | str | Path  # a picture, or the path of one


def transfer_style(
    content: Drawn,
    style: Drawn | Sequence[Drawn],
    network: str | Path = "",
    alpha: float = 1.0,
    weights: Sequence[float] | None = None,
    color: Literal["no", "luminance", "match"] = "no",
    device: str = "auto",
) -> Image.Image:
    """Put a picture into the style of another, or of a mixture of several, at the content's own size.

    Args:
        content: a picture, or its path.
        style: a picture or several, or their paths.
        network: a place as of `pipeline`; "" is the bundled one.
        alpha: strength of the style, 0 to 1.
        weights: shares of several styles, one for each; without them all are equal.
        color: keep the content's colors: its hues ("luminance"), or its mean and covariance ("match").
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        FileNotFoundError or ValueError: a picture or the network cannot be read, or a value does not fit.
    """
    styles = [style] if isinstance(style, Drawn) else list(style)
    shares = [1.0] * len(styles) if weights is None else list(weights)
    if not styles or len(shares) != len(styles) or min(shares) < 0 or not sum(shares) > 0:
        raise ValueError(f"{len(styles)} styles and the weights {shares}: give one weight of 0 or more for each style")
    if not 0 <= alpha <= 1 or color not in ("no", "luminance", "match"):
        raise ValueError(f"alpha {alpha} and color {color!r}: expected 0 to 1, and no, luminance or match")
    file = read_network(network or BUNDLED)
    file.require(FAMILY, "transfer_style")
    net: Any = file.part("adain").to(resolve_device(device))
    wish = Wish(alpha, color, None, None, 0.0, None, [share / sum(shares) for share in shares])
    drawn = _picture(content, "content")
    with switches("fp32", trial=False), torch.no_grad():
        measured = [Styles(net, wish).measure(_picture(each, "style").colors, drawn) for each in styles]
        return to_image(make(net, drawn, measured, wish), drawn.opacity)


def _picture(drawn: Drawn, name: str) -> Picture:
    if isinstance(drawn, Image.Image):
        return of_image(name, drawn if drawn.mode == "RGBA" else drawn.convert("RGB"))
    return read(Path(drawn), name)
