"""Labels on sheets of pictures: one line each, with words that stand apart, of any letters."""

import math
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from system.text import printable

INK = 32  # grey level
SPACE = 0.4  # widths of a gap between words, in heights of letters; Pillow's font has half of that
LONGEST = 80  # letters of a label
# Fonts for letters that Pillow's own font lacks, by the names under which systems have them.
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
        """Pixels that a label takes."""
        words, font = self._words(label)
        return math.ceil(sum(font.getlength(word) for word in words)) + self.space * max(len(words) - 1, 0)

    def write(self, canvas: Image.Image, x: int, middle: int, label: str) -> None:
        """Writes a label from `x` on to the right; `middle` is the height of its line."""
        draw = ImageDraw.Draw(canvas)
        words, font = self._words(label)
        ink = (INK, INK, INK, 255)[: len(canvas.getbands())]
        place = float(x)
        for word in words:
            draw.text((place, middle), word, fill=ink, font=font, anchor="lm")
            place += font.getlength(word) + self.space

    def _words(self, label: str) -> tuple[list[str], Font]:
        """The words of a label, and a font that has their letters, if this machine knows one."""
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
    return own  # which draws a box for a letter that it lacks


def _has(font: Font, letters: str) -> bool:
    lacking = bytes(font.getmask("\U0010ffff"))  # no font has that one
    return all(bytes(font.getmask(letter)) != lacking for letter in letters)
