"""Pictures as bytes: for the page, and as PNG with the settings of the page inside."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from explorer.bodies import TooLargeError
from explorer.pagestate import PageState, read_state
from imaging.grid import FORMATS
from imaging.pixels import MODES, from_pil, to_pil
from imaging.transforms import center_crop_resize, on_white, to_mode, upright, upright_size
from models.sampler import Shape

SETTINGS, COMMAND = "explorer", "command"  # texts in a saved PNG
FILES = ("PNG", "JPEG", "WEBP")  # formats of pictures that are opened
LARGEST_PICTURE = 2**26  # pixels of a picture that is opened


class PlainError(ValueError):
    """A picture without settings."""


def encode(pixels: Tensor, quickly: bool) -> tuple[str, bytes]:
    """Pixels [C, H, W] as the bytes that generate.py writes, or quickly as JPEG, or as WebP if transparent."""
    image, buffer = to_pil(pixels), io.BytesIO()
    if not quickly:
        image.save(buffer, **FORMATS[".png"])
        return "image/png", buffer.getvalue()
    if image.mode == "RGBA":
        image.save(buffer, "WEBP", quality=85, method=0)
        return "image/webp", buffer.getvalue()
    image.save(buffer, "JPEG", quality=90, subsampling=0)
    return "image/jpeg", buffer.getvalue()


@contextmanager
def _opened(data: bytes, remedy: str) -> Iterator[Image.Image]:
    """A picture to be read within the block. ValueError, with the remedy, if the bytes are none, or a huge one."""
    try:
        with Image.open(io.BytesIO(data), formats=FILES) as image:
            if image.width * image.height > LARGEST_PICTURE:
                most = f"more than {LARGEST_PICTURE / 1e6:.0f} megapixels: make it smaller"
                raise TooLargeError(f"the picture has {image.width}x{image.height} pixels, {most}")
            yield image
    except TooLargeError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"the file is no PNG, JPEG or WebP picture: {remedy}") from error


def restored(data: bytes) -> PageState:
    """The state in a saved picture. Raise ValueError for other files; nothing is written."""
    with _opened(data, "drop a PNG that this page saved") as image:
        text = getattr(image, "text", {}).get(SETTINGS)
    if text is None:
        raise PlainError("the picture has no settings in it: drop a PNG that this page saved")
    return read_state(text)


def cropped(data: bytes, shape: Shape) -> Tensor:
    """A picture's middle in the size and colors of a network, uint8 [C, H, W]. ValueError for what is no picture."""
    with _opened(data, "choose another one") as opened:
        image = upright(opened)
        image.load()
    mode = MODES[shape.channels]
    image = on_white(image.convert("RGBA")) if "A" in image.mode and mode != "RGBA" else image.convert("RGB")
    return torch.from_numpy(from_pil(center_crop_resize(to_mode(image, mode), shape.width, shape.height)))


def checked(data: bytes) -> tuple[int, int]:
    """(width, height) of the upright picture in a file that is whole. ValueError for what is no picture."""
    with _opened(data, "choose another one") as image:
        image.load()
        return upright_size(image)


def with_settings(data: bytes, state: PageState, command: str) -> bytes:
    """A PNG with the settings and the command line in it."""
    info, buffer = PngInfo(), io.BytesIO()
    info.add_itxt(SETTINGS, state.model_dump_json())
    info.add_itxt(COMMAND, command)
    Image.open(io.BytesIO(data)).save(buffer, pnginfo=info, **FORMATS[".png"])
    return buffer.getvalue()
