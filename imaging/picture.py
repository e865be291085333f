"""One image file: its header, its pixels. Whatever is wrong with it becomes a ValueError that names it."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from imaging import deep, png
from imaging.opening import LARGEST_FILE, Bounded, RefusedError, reason
from imaging.sizes import LARGEST_PICTURE, spell
from imaging.transforms import mode_of, to_mode, upright, upright_size
from system.untrusted import mistaken_content

# Pillow knows dozens more, some of them hazardous.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000")
LARGEST_SOURCE = 500_000_000  # pixels: the largest cameras have 200 million
LARGEST_HEADER = 2**26  # bytes before the pixels
HEAD = 1024  # bytes that tell kinds of files apart
WHOLE = (b"II", b"MM", b"RIFF")  # beginnings of TIFF and WebP, whose headers may lie anywhere in the file

_lock, _readers, _before = threading.Lock(), 0, ExitStack()  # around switches of Pillow


class Header(NamedTuple):
    """What an image says of itself before its pixels are read. `deep`: it has more than 8 bits for each value."""

    width: int
    height: int
    mode: str  # L, RGB or RGBA
    deep: bool = False


def read_header(file: BinaryIO, name: str) -> Header:
    """Size and mode of the image in `file`, without decoding it."""
    with _naming(name, file):
        start = file.read(HEAD)
        file.seek(0)
        whole = start.startswith(WHOLE) or start[4:8] == b"ftyp"
        with _open(Bounded(file, LARGEST_FILE if whole else LARGEST_HEADER), name) as image:  # type: ignore[arg-type]
            return Header(*upright_size(image), mode_of(image), deep.is_deep(image))


def decode(
    file: BinaryIO, name: str, mode: str, enough: tuple[int, int] | None = None, span: deep.Span | None = None
) -> Image.Image:
    """The image in `file`, or its first frame, upright, in mode L, RGB or RGBA.

    Args:
        file: the image file.
        name: what errors call it.
        mode: L, RGB or RGBA.
        enough: (height, width) that the caller will resize to. A JPEG of more than 50 megapixels is then decoded at
            1/2, 1/4 or 1/8 of its sides, if that is enough.
        span: black and white of images with more than 8 bits; None takes the range of this image.
    """
    with _naming(name, file), _open(file, name) as image:
        if enough is not None and image.width * image.height > LARGEST_PICTURE:
            sides = enough[::-1] if upright_size(image) == image.size else enough
            image.draft(None, sides)  # does something for JPEGs only
        if deep.is_deep(image):
            image = deep.shallow(image, span)
        image.load()
        return to_mode(upright(image), mode)


def is_sheet(file: BinaryIO, name: str) -> bool:
    """Whether one of this project's programs wrote the image in `file` as a sheet of several."""
    with _naming(name, file), _open(file, name) as image:
        return png.SHEET.encode() in image.info.get("exif", b"")


def read_range(file: BinaryIO, name: str) -> tuple[float, float]:
    """(smallest, largest) value of the image of more than 8 bits in `file`."""
    with _naming(name, file), _open(file, name) as image:
        return deep.extremes(np.asarray(image))


def _open(file: BinaryIO, name: str) -> Image.Image:
    try:
        image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError:
        raise _too_large(name, "far more") from None
    if image.width * image.height > LARGEST_SOURCE:
        size = f"{spell(image.height, image.width)} = {image.width * image.height / 1e6:.0f} megapixels,"
        raise _too_large(name, f"{size} more")
    return image


def _too_large(name: str, size: str) -> RefusedError:
    return RefusedError(
        f"{name} has {size} than the {LARGEST_SOURCE // 10**6} megapixels that are accepted: make it smaller"
    )


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
