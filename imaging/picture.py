"""One picture file: its header, its pixels. Whatever is wrong with it becomes a ValueError that names it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from PIL import Image

from imaging.sizes import LARGEST_PICTURE, spell
from imaging.transforms import mode_of, to_mode, upright, upright_size

TRAINING_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
SOURCE_SUFFIXES = (*TRAINING_SUFFIXES, ".bmp", ".tif", ".tiff", ".gif")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")  # Pillow knows dozens more, some of them hazardous


class Header(NamedTuple):
    """What a picture says of itself before its pixels are read."""

    width: int
    height: int
    mode: str  # L, RGB or RGBA


def read_header(file: BinaryIO, name: str) -> Header:
    """Size and mode of the picture in `file`, without decoding it."""
    with _naming(name), _open(file, name) as image:
        return Header(*upright_size(image), mode_of(image))


def decode(file: BinaryIO, name: str, mode: str) -> Image.Image:
    """The picture in `file` (the first frame where there are several), upright, in mode L, RGB or RGBA."""
    with _naming(name), _open(file, name) as image:
        image.load()
        return to_mode(upright(image), mode)


def _open(file: BinaryIO, name: str) -> Image.Image:
    try:
        image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError:
        raise _too_large(name, "far more") from None
    if image.width * image.height > LARGEST_PICTURE:
        size = f"{spell(image.height, image.width)} = {image.width * image.height / 1e6:.0f} megapixels,"
        raise _too_large(name, f"{size} more")
    return image


class _RefusedError(ValueError):
    """Already says which file and why."""


def _too_large(name: str, size: str) -> _RefusedError:
    return _RefusedError(
        f"{name} has {size} than the {LARGEST_PICTURE // 10**6} megapixels that are accepted: make it smaller"
    )


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():  # what Pillow mends it may mend quietly; our limit on size is the stricter one
            warnings.simplefilter("ignore")
            yield
    except _RefusedError as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # decoders meet hostile bytes and raise nearly anything
        reason = "it is not a picture of a known format" if "cannot identify" in str(error) else str(error)
        raise ValueError(f"{name} cannot be decoded: {reason or type(error).__name__}") from error
