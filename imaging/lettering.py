"""Labels on sheets of images: one line each, with clear gaps between words, in any script."""

import math
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from system.text import printable

INK = 32  # gray level
SPACE = 0.4  # gap between words, in heights of letters; Pillow's font has half of that
LONGEST = 80  # letters of a label
# Fonts for letters that Pillow's own font lacks, by their usual file names.
OTHERS = (
    "NotoSansCJK-Regular.ttc",
    "DejaVuSans.ttf",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "NotoSans-Regular.ttf",
)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Lettering:
    """Writes labels whose letters are `size` pixels high."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.height = math.ceil(ImageFont.load_default(size=size).getbbox("Ag")[3])
        self.space = round(SPACE * size)

    def width(self, label: str) -> int:
        """Width of a label in pixels."""
        words, font = self._words(label)
        return math.ceil(sum(font.getlength(word) for word in words)) + self.space * max(len(words) - 1, 0)

    def write(self, canvas: Image.Image, x: int, middle: int, label: str) -> None:
        """Write a label whose left end is at `x`, vertically centered at `middle`."""
        draw = ImageDraw.Draw(canvas)
        words, font = self._words(label)
        ink = (INK, INK, INK, 255)[: len(canvas.getbands())]
        place = float(x)
        for word in words:
            draw.text((place, middle), word, fill=ink, font=font, anchor="lm")
            place += font.getlength(word) + self.space

    def _words(self, label: str) -> tuple[list[str], Font]:
        """The words of a label, and a font that has their letters, if this machine has one."""
        words = printable(label, LONGEST).split(" ")
        return words, _font(self.size, "".join(sorted(set("".join(words)))))


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
