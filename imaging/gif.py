"""Animated GIF of photographs: one palette for the whole film, and a dither that stands still.

A palette for each frame would make flat areas flicker, and error diffusion would make them boil. Here the color of a
pixel depends on nothing but the pixel and its place: pattern dithering (Knoll 1999) takes the few palette colors that
together come nearest, in turns by Bayer's matrix.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

LOOK_AT = 2**16  # pixels of the whole film that choose the palette
CANDIDATES = 4  # colors that take turns
CLEAR = 255  # index of transparent pixels
OPAQUE_FROM = 128  # alpha; a GIF knows nothing between opaque and transparent
BRIGHTNESS = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of red, green and blue (BT.709)


def write_gif(file: IO[bytes], frames: Iterable[Image.Image], fps: float, folder: Path) -> None:
    """Write a film that repeats for ever.

    Args:
        file: where to.
        frames: RGB or RGBA images; less than half opaque pixels become transparent.
        fps: frames a second, at most 50. The format counts hundredths of a second; rounding errors do not add up.
        folder: for the frames, which must be seen twice: for the palette, and to be written.
    """
    paths = []
    for number, frame in enumerate(frames):
        paths.append(folder / f"{number}.png")
        frame.save(paths[-1], compress_level=1)
    clear = _pixels(paths[0]).shape[-1] == 4
    palette = Palette(_colors(paths, CLEAR if clear else 256))
    pictures = (_picture(_pixels(path), palette) for path in paths)
    ends = [round(number * 100 / fps) for number in range(len(paths) + 1)]
    durations = [10 * (end - start) for start, end in pairwise(ends)]
    more = {"transparency": CLEAR, "disposal": 2} if clear else {}
    next(pictures).save(
        file, "GIF", save_all=True, append_images=pictures, duration=durations, loop=0, optimize=False, **more
    )


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as frame:
        return np.asarray(frame)


def _picture(pixels: np.ndarray, palette: "Palette") -> Image.Image:
    indices = palette.indices(pixels[:, :, :3])
    if pixels.shape[2] == 4:
        indices[pixels[:, :, 3] < OPAQUE_FROM] = CLEAR
    picture = Image.fromarray(indices, "P")
    picture.putpalette(palette.colors.astype(np.uint8).tobytes().ljust(768, b"\0"))
    return picture


class Palette:
    """Up to 256 colors [P, 3], 0 .. 255, and how they stand for all others."""

    def __init__(self, colors: np.ndarray) -> None:
        self.colors = colors.astype(np.float32)
        self._brightness = self.colors @ BRIGHTNESS
        self._nearest = self._table()

    def indices(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] -> the number of each pixel's color, uint8 [H, W]."""
        height, width, _ = pixels.shape
        goal = pixels.astype(np.float32)
        owed = np.zeros_like(goal)
        candidates = np.empty([CANDIDATES, height, width], np.uint8)
        for candidate in candidates:
            red, green, blue = np.moveaxis(np.clip(goal + owed, 0, 255).astype(np.uint8) >> 2, -1, 0)
            candidate[:] = self._nearest[red, green, blue]
            owed += goal - self.colors[candidate]
        order = np.argsort(self._brightness[candidates], axis=0, kind="stable")
        bayer = np.zeros([1, 1], int)
        for _ in range(3):
            bayer = np.block([[4 * bayer, 4 * bayer + 2], [4 * bayer + 3, 4 * bayer + 1]])
        turns = np.tile(bayer, (-(-height // 8), -(-width // 8)))[None, :height, :width] * CANDIDATES // 64
        return np.take_along_axis(candidates, np.take_along_axis(order, turns, axis=0), axis=0)[0]

    def _table(self) -> np.ndarray:
        """uint8 [64, 64, 64]: the color nearest to each red, green and blue, in steps of four levels."""
        steps = np.arange(64, dtype=np.float32) * 4 + 1.5
        half_square = (self.colors**2).sum(axis=1) / 2  # |p|^2 / 2 - p c is least where |p - c|^2 is
        red, green, blue = (half_square / 3 - steps[:, None] * self.colors[:, i] for i in range(3))  # [64, P] each
        table = np.stack([np.argmin((part + green)[:, None] + blue, axis=-1) for part in red]).astype(np.uint8)
        own = self.colors.astype(np.uint8) >> 2
        table[own[:, 0], own[:, 1], own[:, 2]] = np.arange(len(own))
        return table


def _colors(paths: Sequence[Path], count: int) -> np.ndarray:
    """[at most `count`, 3]: k-means of opaque pixels from all over the film."""
    draws, each, some = np.random.default_rng(0), max(1, LOOK_AT // len(paths)), [np.zeros([0, 3], np.uint8)]
    for path in paths[:: -(-len(paths) // LOOK_AT)]:
        pixels = _pixels(path)
        pixels = pixels.reshape(-1, pixels.shape[2])
        if len(pixels) > each:
            pixels = pixels[draws.integers(len(pixels), size=each)]
        some.append(pixels[pixels[:, 3] >= OPAQUE_FROM, :3] if pixels.shape[1] == 4 else pixels)
    seen = np.concatenate(some)
    seen = seen if len(seen) else np.zeros([1, 3], np.uint8)  # all transparent
    # Until less than a hundredth of the pixels changes its color.
    found = Image.fromarray(seen[None]).quantize(count, Image.Quantize.MEDIANCUT, kmeans=max(1, len(seen) // 100))
    return np.asarray(found.getpalette(), np.uint8).reshape(-1, 3)[:count]
