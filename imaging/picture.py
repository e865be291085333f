"""One image file: its header, its pixels. Whatever is wrong with it becomes a ValueError that names it.

Gray files of 16 bits often hold 8, 10 or 12, and 32-bit numbers have no fixed range. Read as 16 full bits they would be
nearly black, so black and white follow from the range that an image, or a set, really uses: its `Span`. Of 16-bit
colors Pillow reads the high bytes.
"""

import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from imaging.opening import LARGEST_FILE, Bounded, RefusedError, reason
from imaging.sizes import LARGEST_PICTURE, spell
from imaging.transforms import DEEP, SHEET, mode_of, to_mode, to_srgb, upright, upright_size
from system.untrusted import mistaken_content

# Pillow knows dozens more, some of them hazardous.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000")
LARGEST_SOURCE = 500_000_000  # pixels: the largest cameras have 200 million
LARGEST_HEADER = 2**26  # bytes before the pixels
HEAD = 1024  # bytes that tell kinds of files apart
WHOLE = (b"II", b"MM", b"RIFF")  # beginnings of TIFF and WebP, whose headers may lie anywhere in the file
DEPTHS = (8, 10, 12, 14, 16)  # bits of deep images
FULL = 2**16 - 1

_lock, _readers, _before = threading.Lock(), 0, ExitStack()  # of Pillow's switches, which are the process's


class Header(NamedTuple):
    """What an image says of itself before its pixels are read. `deep`: it has more than 8 bits for each value."""

    width: int
    height: int
    mode: str  # L, RGB or RGBA
    deep: bool = False


class Span(NamedTuple):
    """The values of images with more than 8 bits that become black (0) and white (255)."""

    black: float
    white: float

    def note(self, many: bool) -> str:
        """A sentence for the user; "" if all 16 bits are used."""
        if self == (0, FULL):
            return ""
        which = "images of more than 8 bits use" if many else "its more than 8 bits use"
        return f"{which} values from {self.black:g} to {self.white:g}: these are read as black and white"


def read_header(file: BinaryIO, name: str) -> Header:
    """Size and mode of the image in `file`, without decoding it."""
    with _naming(name, file):
        start = file.read(HEAD)
        file.seek(0)
        whole = start.startswith(WHOLE) or start[4:8] == b"ftyp"
        with _open(Bounded(file, LARGEST_FILE if whole else LARGEST_HEADER), name) as image:  # type: ignore[arg-type]
            return Header(*upright_size(image), mode_of(image), image.mode in DEEP)


def decode(
    file: BinaryIO,
    name: str,
    mode: str,
    enough: tuple[int, int] | None = None,
    span: Span | None = None,
    srgb: bool = False,
) -> Image.Image:
    """The image in `file`, which errors call `name`, or its first frame, upright, in mode L, RGB or RGBA.

    `enough` is the (height, width) that the caller will resize to: a JPEG of more than 50 megapixels is decoded at 1/2,
    1/4 or 1/8 of its sides, if that is enough. Without `span`, deep images have the range of this image. With `srgb`
    the colors of an ICC profile become those of sRGB; otherwise the profile is ignored.
    """
    with _naming(name, file), _open(file, name) as image:
        if enough is not None and image.width * image.height > LARGEST_PICTURE:
            sides = enough[::-1] if upright_size(image) == image.size else enough
            image.draft(None, sides)  # does something for JPEGs only
        if image.mode in DEEP:
            image = shallow(image, span)
        image.load()
        image = upright(image)
        return to_mode(to_srgb(image) if srgb else image, mode)


def is_animated(file: BinaryIO, name: str) -> bool:
    """Whether the file holds more than one frame."""
    with _naming(name, file), _open(file, name) as image:
        return getattr(image, "n_frames", 1) > 1


def is_sheet(file: BinaryIO, name: str) -> bool:
    """Whether one of this project's programs wrote the image in `file` as a sheet of several."""
    with _naming(name, file), _open(file, name) as image:
        return SHEET.encode() in image.info.get("exif", b"")


def read_range(file: BinaryIO, name: str) -> tuple[float, float]:
    """(smallest, largest) value of the image of more than 8 bits in `file`."""
    with _naming(name, file), _open(file, name) as image:
        return extremes(np.asarray(image))


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
        return Span(0, next((2**bits - 1 for bits in DEPTHS if high < 2**bits), high))
    return Span(low, max(high, low + 1))


def _open(file: BinaryIO, name: str) -> Image.Image:
    most = f"the {LARGEST_SOURCE // 10**6} megapixels that are accepted: make it smaller"
    try:
        image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError:
        raise RefusedError(f"{name} has far more than {most}") from None
    if image.width * image.height > LARGEST_SOURCE:
        size = f"{spell(image.height, image.width)} = {image.width * image.height / 1e6:.0f} megapixels"
        raise RefusedError(f"{name} has {size}, more than {most}")
    return image


@contextmanager
def _pillow() -> Iterator[None]:
    """Let Pillow open images as large as cameras make, and repair damage without warnings.

    Both are switches of the process. The first of several threads sets them, the last one restores them.
    """
    global _readers
    with _lock:
        _readers += 1
        if _readers == 1:
            _before.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            _before.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\.")
            Image.MAX_IMAGE_PIXELS = LARGEST_SOURCE
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0:
                _before.close()


@contextmanager
def _naming(name: str, file: BinaryIO) -> Iterator[None]:
    try:
        with _pillow():
            yield
    except RefusedError:
        raise
    except Exception as error:  # decoders meet hostile bytes and raise nearly anything
        why = reason(error)
        if "cannot identify" in str(error):
            file.seek(0)
            found = mistaken_content(file.read(HEAD))
            why = f"it is {found}" if found else "not an image of a known format"
        raise ValueError(f"{name} cannot be decoded: {why}") from error
