"""Labels on sheets of images, one line each, in the first font of this machine that has their letters."""

import math
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from system.text import printable

INK = 32  # gray level
LONGEST = 80  # letters of a label
# Fonts for letters that Pillow's own font lacks, by their usual file names.
OTHERS = ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "Arial Unicode.ttf", "msyh.ttc", "NotoSans-Regular.ttf")

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Lettering:
    """Writes labels whose letters are `size` pixels high."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.height = math.ceil(ImageFont.load_default(size=size).getbbox("Ag")[3])

    def width(self, label: str) -> int:
        """Width of a label in pixels."""
        return math.ceil(self._font(label).getlength(_text(label)))

    def write(self, canvas: Image.Image, x: int, middle: int, label: str) -> None:
        """Write a label whose left end is at `x`, vertically centered at `middle`."""
        ink = (INK, INK, INK, 255)[: len(canvas.getbands())]
        ImageDraw.Draw(canvas).text((x, middle), _text(label), fill=ink, font=self._font(label), anchor="lm")

    def _font(self, label: str) -> Font:
        return _font(self.size, "".join(sorted(set(_text(label)))))


def _text(label: str) -> str:
    return printable(label, LONGEST).replace(" ", "  ")  # Pillow's font has narrow spaces


@lru_cache(maxsize=256)
def _font(size: int, letters: str) -> Font:
    own = ImageFont.load_default(size=size)
    if letters.isascii() or _has(own, letters):
        return own
    for name in OTHERS:
        try:
            other = ImageFont.truetype(name, size)
        except OSError:
            continue
        if _has(other, letters):
            return other
    return own  # draws boxes for missing letters


def _has(font: Font, letters: str) -> bool:
    lacking = bytes(font.getmask("\U0010ffff"))  # no font has this letter
    return all(bytes(font.getmask(letter)) != lacking for letter in letters)
