"""Gray images with more than 8 bits for each value: which values are black and white.

Files of 16 bits often hold 8, 10 or 12, and 32-bit numbers have no fixed range. Read as 16 full bits they would be
nearly black, so black and white follow from the range that an image, or a set, really uses. Of 16-bit colors Pillow
reads the high bytes.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image

GRAY = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
DEPTHS = (8, 10, 12, 14, 16)
FULL = 2**16 - 1


class Span(NamedTuple):
    """The values that become black (0) and white (255)."""

    black: float
    white: float


def is_deep(image: Image.Image) -> bool:
    """Whether an image has more than 8 bits of gray. Only its header need be loaded."""
    return image.mode in GRAY


def shallow(image: Image.Image, span: Span | None = None) -> Image.Image:
    """The deep image with 8 bits, rounded. Without `span` its own range counts."""
    values = np.asarray(image)
    span = span or span_of([extremes(values)])
    if span.black == 0 and 0 < span.white <= FULL and float(span.white).is_integer() and values.dtype.kind != "f":
        white = int(span.white)
        return Image.fromarray(((values.clip(0, white).astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8))
    share = (np.nan_to_num(values.astype(np.float32)) - span.black) / max(span.white - span.black, 1e-30)
    return Image.fromarray((share.clip(0, 1) * 255 + 0.5).astype(np.uint8))


def extremes(values: np.ndarray) -> tuple[float, float]:
    """(smallest, largest) finite value."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


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
    if span == (0, FULL):
        return ""
    which = "images of more than 8 bits use" if many else "its more than 8 bits use"
    return f"{which} values from {span.black:g} to {span.white:g}: these are read as black and white"
