"""uint8 `pixels` (0..255) and float `images` (-1..1), and the conversions between them."""

from typing import Literal

import numpy as np
import torch
from PIL import Image

MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # channels -> Pillow's name


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


def to_pil(pixels: torch.Tensor | np.ndarray) -> Image.Image:
    """uint8 pixels [C, H, W] -> a gray (1 channel), RGB (3) or RGBA (4) image; other shapes raise ValueError."""
    array = pixels.cpu().numpy() if isinstance(pixels, torch.Tensor) else pixels
    if array.ndim != 3 or array.shape[0] not in MODES or array.dtype != np.uint8:
        raise ValueError(
            f"expected uint8 pixels [C, H, W] with 1, 3 or 4 channels, got {array.dtype} {list(array.shape)}"
        )
    if array.shape[0] == 1:
        return Image.fromarray(np.ascontiguousarray(array[0]))
    return Image.fromarray(np.ascontiguousarray(array.transpose(1, 2, 0)))


def from_pil(image: Image.Image) -> np.ndarray:
    """An image of mode L, RGB or RGBA -> uint8 pixels [C, H, W]; other modes raise ValueError."""
    if image.mode not in MODES.values():
        raise ValueError(f"expected an image of mode L, RGB or RGBA, got mode {image.mode}")
    bands = image.split()  # for large images quicker than transposing
    pixels = np.empty((len(bands), image.height, image.width), dtype=np.uint8)
    for plane, band in zip(pixels, bands, strict=True):
        plane[:] = np.asarray(band)
    return pixels
