"""PNG files that are quick to read: neither compressed nor filtered.

Most of the time to read a PNG goes into its filter, which predicts each pixel from its neighbors for the sake of
compression. Pillow filters even without compression, so these files are put together here. Any program reads them.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

COLOR_TYPES = {"L": 0, "RGB": 2, "RGBA": 6}
SHEET = "a sheet of several images"  # in the EXIF description of sheets that this project writes, of any format
DESCRIPTION = 0x010E  # EXIF tag
LARGEST_BLOCK = 2**16 - 1  # bytes in an uncompressed block of a zlib stream


def encode(image: Image.Image) -> bytes:
    """An image of mode L, RGB or RGBA as a file; equal pixels give equal bytes on every machine.

    Other modes raise ValueError.
    """
    if image.mode not in COLOR_TYPES:
        raise ValueError(f"expected an image of mode L, RGB or RGBA, got mode {image.mode}")
    pixels = np.asarray(image).reshape(image.height, -1)
    lines = np.zeros((image.height, 1 + pixels.shape[1]), dtype=np.uint8)  # each begins with its filter, 0: none
    lines[:, 1:] = pixels
    header = struct.pack(">IIBBBBB", image.width, image.height, 8, COLOR_TYPES[image.mode], 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": b"".join(_zlib_stream(lines.tobytes())), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks.items())


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _zlib_stream(data: bytes) -> Iterator[bytes]:
    """Not zlib.compress: its versions cut uncompressed data into different blocks."""
    yield b"\x78\x01"
    for start in range(0, len(data), LARGEST_BLOCK):
        block = data[start : start + LARGEST_BLOCK]
        last = start + LARGEST_BLOCK >= len(data)
        yield struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block
    yield struct.pack(">I", zlib.adler32(data))
