"""uint8 `pixels` (0..255) and float `images` (-1..1), the conversions between them, and PNG files of pixels.

The PNG files are quick to read: neither compressed nor filtered. Most of the time to read a PNG goes into its filter,
which predicts each pixel from its neighbors for the sake of compression. Pillow filters even without compression, so
these files are put together here. Any program reads them.
"""

from __future__ import annotations

import struct
import zlib
from typing import Literal

import numpy as np
import torch
from PIL import Image

MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # channels -> Pillow's name
COLOR_TYPES = {"L": 0, "RGB": 2, "RGBA": 6}  # of PNG
LARGEST_BLOCK = 2**16 - 1  # bytes in an uncompressed block of a zlib stream


def to_images(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 pixels of any shape -> images of the same shape in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def to_pixels(images: torch.Tensor, rounding: Literal["truncate", "nearest"] = "truncate") -> torch.Tensor:
    """Images in [-1, 1] (values outside are clamped) -> uint8 pixels of the same shape.

    "truncate" is the rule of the published StyleGAN2 images; "nearest" is the exact inverse of `to_images`. They differ
    by at most one level.
    """
    images = images.detach().float()
    if rounding == "truncate":
        return (images * 127.5 + 128).clamp(0, 255).to(torch.uint8)
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def false_colors(latents: torch.Tensor) -> torch.Tensor:
    """Images in [-1, 1] of the first three channels (the first, if there are fewer) of latents [N, C, H, W].

    Latents have a deviation of about 1 in each channel: -3 is black and 3 is white.
    """
    return (latents[:, : 3 if latents.shape[1] >= 3 else 1] / 3).clamp(-1, 1)


def psnr(pixels: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio of uint8 pixels [N, ...], in dB: 10 log10(255^2 / MSE), [N]; inf for equal ones."""
    mse = (pixels.double() - others.double()).square().flatten(1).mean(dim=1)
    return 10 * torch.log10(255**2 / mse)


def to_pil(pixels: torch.Tensor | np.ndarray) -> Image.Image:
    """uint8 pixels [C, H, W] -> a gray (1 channel), RGB (3) or RGBA (4) image; other shapes raise ValueError."""
    array = pixels.cpu().numpy() if isinstance(pixels, torch.Tensor) else pixels
    if array.ndim != 3 or array.shape[0] not in MODES or array.dtype != np.uint8:
        raise ValueError(
            f"expected uint8 pixels [C, H, W] with 1, 3 or 4 channels, got {array.dtype} {list(array.shape)}"
        )
    return Image.fromarray(np.ascontiguousarray(array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)))


def from_pil(image: Image.Image) -> np.ndarray:
    """An image of mode L, RGB or RGBA -> uint8 pixels [C, H, W]; other modes raise ValueError."""
    _check_mode(image)
    bands = image.split()  # for large images quicker than transposing
    pixels = np.empty((len(bands), image.height, image.width), dtype=np.uint8)
    for plane, band in zip(pixels, bands, strict=True):
        plane[:] = np.asarray(band)
    return pixels


def encode_png(image: Image.Image) -> bytes:
    """An image of mode L, RGB or RGBA as a file; equal pixels give equal bytes. Other modes raise ValueError."""
    _check_mode(image)
    pixels = np.asarray(image).reshape(image.height, -1)
    lines = np.zeros((image.height, 1 + pixels.shape[1]), dtype=np.uint8)  # each begins with its filter, 0: none
    lines[:, 1:] = pixels
    data, stream = lines.tobytes(), [b"\x78\x01"]  # not zlib.compress, whose versions cut data into different blocks
    for start in range(0, len(data), LARGEST_BLOCK):
        block = data[start : start + LARGEST_BLOCK]
        last = start + LARGEST_BLOCK >= len(data)
        stream += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    stream.append(struct.pack(">I", zlib.adler32(data)))
    header = struct.pack(">IIBBBBB", image.width, image.height, 8, COLOR_TYPES[image.mode], 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": b"".join(stream), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
        for kind, data in chunks.items()
    )


def _check_mode(image: Image.Image) -> None:
    if image.mode not in COLOR_TYPES:
        raise ValueError(f"expected an image of mode L, RGB or RGBA, got mode {image.mode}")
