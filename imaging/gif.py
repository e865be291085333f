"""Animated GIF of photographs: one palette for the whole film, and a dither that stands still.

A palette for each frame makes flat areas change their colour from frame to frame, and error diffusion makes them
boil, for one pixel's error moves all those after it. Here a pixel's colour depends on itself and its place alone:
pattern dithering (Knoll 1999), in which the few colours of the palette that together come nearest take turns by Bayer's
matrix. Where the palette has the colour itself, they are all that one.
"""

import io
import struct
from typing import IO

import numpy as np
from PIL import Image

from imaging.reel import Reel

LOOK_AT = 2**16  # pixels of the whole film that choose the palette
CANDIDATES = 4  # colours that take turns
CLEAR = 255  # index of what is transparent
OPAQUE_FROM = 128  # alpha; a GIF knows nothing between
BRIGHTNESS = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of red, green and blue (BT.709)


def write_gif(file: IO[bytes], reel: Reel, fps: float) -> None:
    """Writes a film that repeats for ever, frame by frame.

    Args:
        file: where to.
        reel: RGB or RGBA pictures; what is less than half opaque becomes transparent.
        fps: pictures a second, at most 100. The format counts hundredths of a second, so that of 30 pictures a second
            some last 3 and some 4 of them, and the film as a whole keeps its time.
    """
    clear = reel.mode == "RGBA"
    palette = Palette(_colours(reel, CLEAR if clear else 256))
    file.write(_header(reel.size, palette.colours))
    for number, frame in enumerate(reel):
        pixels = np.asarray(frame)
        indices = palette.indices(pixels[:, :, :3])
        if clear:
            indices[pixels[:, :, 3] < OPAQUE_FROM] = CLEAR
        hundredths = round((number + 1) * 100 / fps) - round(number * 100 / fps)
        file.write(_control(hundredths, clear) + _picture(indices))
    file.write(b";")


class Palette:
    """Up to 256 colours, and how they stand for all others.

    Args:
        colours: 0 .. 255, [P, 3].
    """

    def __init__(self, colours: np.ndarray) -> None:
        self.colours = colours.astype(np.float32)
        self._brightness = self.colours @ BRIGHTNESS
        self._nearest = self._table()

    def indices(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] -> the colour of each pixel by its number, uint8 [H, W]."""
        goal = pixels.astype(np.float32)
        owed = np.zeros_like(goal)
        candidates = np.empty([CANDIDATES, *pixels.shape[:2]], np.uint8)
        for candidate in candidates:
            red, green, blue = np.moveaxis(np.clip(goal + owed, 0, 255).astype(np.uint8) >> 2, -1, 0)
            candidate[:] = self._nearest[red, green, blue]
            owed += goal - self.colours[candidate]
        order = np.argsort(self._brightness[candidates], axis=0, kind="stable")
        turns = _bayer(*pixels.shape[:2])[None] * CANDIDATES // 64
        chosen = np.take_along_axis(order, turns, axis=0)
        return np.take_along_axis(candidates, chosen, axis=0)[0]

    def _table(self) -> np.ndarray:
        """uint8 [64, 64, 64]: the colour nearest to each red, green and blue, in steps of four grey levels."""
        steps = np.arange(64, dtype=np.float32) * 4 + 1.5
        half_square = (self.colours**2).sum(axis=1) / 2  # |p|^2 / 2 - p c is least where |p - c|^2 is
        red, green, blue = (half_square / 3 - steps[:, None] * self.colours[:, i] for i in range(3))  # [64, P] each
        table = np.stack([np.argmin((part + green)[:, None] + blue, axis=-1) for part in red]).astype(np.uint8)
        own = self.colours.astype(np.uint8) >> 2
        table[own[:, 0], own[:, 1], own[:, 2]] = np.arange(len(own))
        return table


def _colours(reel: Reel, count: int) -> np.ndarray:
    """[at most `count`, 3]: k-means of pixels from all over the film."""
    draws, each = np.random.default_rng(0), max(1, LOOK_AT // len(reel))
    looked_at = range(0, len(reel), -(-len(reel) // LOOK_AT))
    seen = np.concatenate([_some_pixels(reel[number], each, draws) for number in looked_at])
    if not len(seen):
        seen = np.zeros([1, 3], np.uint8)  # all transparent
    # Until less than a hundredth of them changes sides.
    found = Image.fromarray(seen[None]).quantize(count, Image.Quantize.MEDIANCUT, kmeans=max(1, len(seen) // 100))
    return np.asarray(found.getpalette(), np.uint8).reshape(-1, 3)[:count]


def _some_pixels(frame: Image.Image, count: int, draws: np.random.Generator) -> np.ndarray:
    """uint8 [at most `count`, 3]: opaque pixels of a frame."""
    pixels = np.asarray(frame).reshape(-1, len(frame.getbands()))
    if len(pixels) > count:
        pixels = pixels[draws.integers(len(pixels), size=count)]
    if pixels.shape[1] == 4:
        pixels = pixels[pixels[:, 3] >= OPAQUE_FROM]
    return pixels[:, :3]


def _bayer(height: int, width: int) -> np.ndarray:
    """Bayer's 8 x 8 matrix of the numbers 0 .. 63, repeated: whole numbers [height, width]."""
    matrix = np.zeros([1, 1], int)
    for _ in range(3):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return np.tile(matrix, (-(-height // 8), -(-width // 8)))[:height, :width]


def _header(size: tuple[int, int], colours: np.ndarray) -> bytes:
    """The beginning of a GIF89a file with 256 colours for all frames, that repeats without end."""
    table = colours.astype(np.uint8).tobytes().ljust(768, b"\0")
    screen = struct.pack("<HHBBB", *size, 0b1_111_0_111, 0, 0)  # a table of 2^(7+1) colours of 8 bits
    again = b"!\xff\x0bNETSCAPE2.0" + struct.pack("<BBHB", 3, 1, 0, 0)
    return b"GIF89a" + screen + table + again


def _control(hundredths: int, clear: bool) -> bytes:
    """What stands before a frame: how long it lasts, and what becomes of it.

    Disposal 2 clears a frame before the next; 1 leaves it to be covered.
    """
    return b"!\xf9" + struct.pack("<BBHBB", 4, (2 << 2) | 1 if clear else 1 << 2, hundredths, CLEAR if clear else 0, 0)


def _picture(indices: np.ndarray) -> bytes:
    """A frame, uint8 [H, W], as it stands in a GIF: taken out of the file that Pillow writes of it alone."""
    alone = io.BytesIO()
    Image.fromarray(indices).save(alone, "GIF", optimize=False, interlace=False)  # an index is a grey to the encoder
    data = alone.getvalue()
    place = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)  # behind the header and its colours
    while data[place : place + 1] == b"!":
        place += 2
        while data[place]:
            place += 1 + data[place]
        place += 1
    if data[place : place + 1] != b"," or data[place + 9] & 0xC0:
        raise RuntimeError("this version of Pillow writes GIFs in another way: colours of their own, or interlaced")
    return data[place:-1]
