"""Images with more than 8 bits for each value: which values are black and white.

Files of 16 bits often hold 8, 10 or 12, and 32-bit numbers have no fixed range. Read as 16 full bits they would be
nearly black, so black and white follow from the range that an image, or a set, really uses.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFile

GRAY = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
DEPTHS = (8, 10, 12, 14, 16)
FULL = 2**16 - 1
# Pillow's names for the byte order of 16-bit colors. Pillow keeps the high byte; with the other name, the low one.
OTHER = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B" if sys.byteorder == "little" else ";16L"}
IS_FULL = 2**6  # of the high byte: no depth below 16 reaches it


class Span(NamedTuple):
    """The values that become black (0) and white (255)."""

    black: float
    white: float


FULL_SPAN = Span(0, FULL)


def is_deep(image: Image.Image) -> bool:
    """Whether an image, of which only the header was read, has more than 8 bits for each value."""
    return image.mode in GRAY or _order(image) is not None


def shallow(image: Image.Image, reopen: Callable[[], Image.Image], span: Span | None = None) -> Image.Image:
    """The image with 8 bits. `reopen` opens it again; without `span` its own range counts. ValueError as `levels`."""
    values = levels(image, reopen)
    if values is None:
        return image  # Pillow has loaded the high bytes
    span = span or span_of([extremes(values)])
    if image.mode in GRAY:
        return Image.fromarray(_scaled(values, span))
    pixels = np.asarray(image).copy()
    if span != FULL_SPAN:
        pixels[..., :3] = _scaled(values, span)
    return Image.fromarray(pixels)


def range_of(image: Image.Image, reopen: Callable[[], Image.Image]) -> tuple[float, float]:
    """(smallest, largest) value of an image of more than 8 bits."""
    values = levels(image, reopen)
    return (0.0, float(FULL)) if values is None else extremes(values)


def span_of(ranges: Iterable[tuple[float, float]]) -> Span:
    """Black and white for images of these ranges, together.

    Values from 0 use the smallest of 8, 10, 12, 14 and 16 bits that holds them; fractions up to 1 use 0..1. Otherwise
    the smallest value is black and the largest white.
    """
    lows, highs = zip(*ranges, strict=True)
    low, high = min(lows), max(highs)
    if low >= 0 and high <= 1 and high != round(high):
        return Span(0, 1)
    if low >= 0:
        depth = next((bits for bits in DEPTHS if high < 2**bits), None)
        return Span(0, 2**depth - 1 if depth else high)
    return Span(low, max(high, low + 1))


def note(span: Span, many: bool) -> str:
    """A sentence for the user; "" if all 16 bits are used."""
    if span == FULL_SPAN:
        return ""
    which = "images of more than 8 bits use" if many else "its more than 8 bits use"
    return f"{which} values from {span.black:g} to {span.white:g}: these are read as black and white"


def levels(image: Image.Image, reopen: Callable[[], Image.Image]) -> np.ndarray | None:
    """The values [H, W], or [H, W, 3] of 16-bit colors; None for colors that use all 16 bits. Loads the image.

    ValueError for dark 16-bit gray with transparency, of which Pillow gives only the high bytes.
    """
    raw, order = _raw(image), _order(image)
    image.load()
    if image.mode in GRAY:
        return np.asarray(image)
    pixels = np.asarray(image)[..., : -1 if image.mode in ("LA", "RGBA") else None]
    if order is None or pixels.max(initial=0) >= IS_FULL:
        return None
    if raw.startswith("LA"):
        raise ValueError("its 16-bit gray values are all dark and would be lost: save it without transparency")
    with reopen() as second:
        assert isinstance(second, ImageFile.ImageFile)
        second.tile = [each._replace(args=_replaced(each.args, order)) for each in second.tile]
        second.load()
        return pixels.astype(np.uint16) << 8 | np.asarray(second)[..., :3]


def extremes(values: np.ndarray) -> tuple[float, float]:
    """(smallest, largest) finite value."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _scaled(values: np.ndarray, span: Span) -> np.ndarray:
    """`values` as uint8, rounded."""
    if span.black == 0 and 0 < span.white <= FULL and float(span.white).is_integer() and values.dtype.kind != "f":
        white = int(span.white)
        return ((values.clip(0, white).astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)
    share = (np.nan_to_num(values.astype(np.float32)) - span.black) / max(span.white - span.black, 1e-30)
    return (share.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _order(image: Image.Image) -> str | None:
    """The byte order of 16-bit colors; None for other images."""
    order = _raw(image)[-4:]
    return order if order in OTHER and image.mode not in GRAY else None


def _raw(image: Image.Image) -> str:
    """Pillow's name for the values in the file of an image that is not loaded yet; "" if unknown."""
    args = image.tile[0].args if isinstance(image, ImageFile.ImageFile) and image.tile else ""
    first = args if isinstance(args, str) else (args or ("",))[0]
    return first if isinstance(first, str) else ""


def _replaced(args: tuple[Any, ...] | str | None, order: str) -> tuple[Any, ...] | str:
    if isinstance(args, str):
        return args.replace(order, OTHER[order])
    assert isinstance(args, tuple)
    return (args[0].replace(order, OTHER[order]), *args[1:])
