"""Many images on one: plain grids, labeled sheets; and saving images atomically."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont

from imaging.pixels import to_pil
from imaging.transforms import SHEET, on_white
from system.files import open_replacing
from system.text import printable

JPEG: dict[str, Any] = {"format": "JPEG", "quality": 95}
FORMATS: dict[str, dict[str, Any]] = {  # ending -> options
    ".png": {"format": "PNG", "compress_level": 4},
    ".webp": {"format": "WEBP", "lossless": True},
    ".jpg": JPEG,
    ".jpeg": JPEG,
}
DESCRIPTION = 0x010E  # EXIF tag
GRID = "grid.png"  # the sheet of all images that a script makes, beside them
LARGEST_SHEET = 2**28  # pixels; hardly any program opens larger images
PAPER = (255, 255, 255)
LABELED = (20, 64)  # about the least height and width that a tile takes on a sheet with labels
# Small images are enlarged by a whole factor as long as the sheet and its tiles stay within these sides.
SHEET_SIDE, TILE_SIDE = 1024, 256
INK = (32, 32, 32, 255)  # of labels
LONGEST = 80  # letters of a label
# Fonts for letters that Pillow's own font lacks, by their usual file names.
OTHERS = ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "Arial Unicode.ttf", "msyh.ttc", "NotoSans-Regular.ttf")


def check_sheet(count: int, size: tuple[int, int], asked_by: str, labeled: bool = True) -> None:
    """Raise ValueError, with the options `asked_by`, if a sheet of `count` pictures of a size (height, width) would be
    too large to open. Next to labels, small pictures take more room.
    """
    sides = [max(side, least) for side, least in zip(size, LABELED, strict=True)] if labeled else size
    most = LARGEST_SHEET // (sides[0] * sides[1])
    if count > most:
        raise ValueError(f"{asked_by}: {count} pictures do not fit on one sheet, which holds {most} of this size")


def tile(pixels: torch.Tensor, columns: int, enlarged: bool = False) -> Image.Image:
    """One image of the tiles uint8 [N, C, H, W], `columns` in a row, filled row by row; gaps stay white.

    `enlarged` enlarges small tiles by a whole factor, as `sheet` does.
    """
    count, channels, height, width = pixels.shape
    rows = -(-count // columns)
    canvas = pixels.new_full((rows * columns, channels, height, width), 255)
    canvas[:count] = pixels
    canvas = canvas.reshape(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4)  # [C, rows, H, columns, W]
    image = to_pil(canvas.reshape(channels, rows * height, columns * width))
    if enlarged:
        return _marked(_scaled(image, enlargement((height, width), rows, columns)))
    return _marked(image) if count > 1 else image  # a single tile, such as a frame of a film, is no sheet


def enlargement(size: tuple[int, int], rows: int, columns: int) -> int:
    """The whole factor by which a sheet enlarges tiles of a size (height, width): 1 if they are large, or many."""
    height, width = size
    return max(1, min(SHEET_SIDE // (rows * height), SHEET_SIDE // (columns * width), TILE_SIDE // max(size)))


def sheet(
    rows: Sequence[Sequence[Image.Image]], row_labels: Sequence[str], column_labels: Sequence[str]
) -> Image.Image:
    """Rows of equally large tiles with a label before each row and above each column.

    Small tiles are enlarged by a whole factor, and set wider apart if their column's label is wider. Empty sequences
    omit the labels; a wrong number of labels raises ValueError.
    """
    columns = max(len(row) for row in rows)
    if (row_labels and len(row_labels) != len(rows)) or (column_labels and len(column_labels) != columns):
        raise ValueError(
            f"a sheet of {len(rows)} rows and {columns} columns got {len(row_labels)} row labels "
            f"and {len(column_labels)} column labels"
        )
    first = rows[0][0]
    factor = enlargement((first.height, first.width), len(rows), columns)
    width, height = first.width * factor, first.height * factor
    letters = _lettering(height)
    gap = max(2, width // 64)
    left = max((letters.width(label) + 8 for label in row_labels), default=0)
    top = letters.height + 6 if column_labels else 0
    step_x = max([width, *(letters.width(label) + 8 for label in column_labels)]) + gap
    step_y = max(height, letters.height + 6 if row_labels else 0) + gap

    canvas = Image.new("RGB", (left + columns * step_x - gap, top + len(rows) * step_y - gap), PAPER)
    for i, label in enumerate(column_labels):
        middle = left + i * step_x + (step_x - gap) // 2
        letters.write(canvas, middle - letters.width(label) // 2, top // 2, label)
    for j, row in enumerate(rows):
        y = top + j * step_y
        if row_labels:
            letters.write(canvas, left - 4 - letters.width(row_labels[j]), y + (step_y - gap) // 2, row_labels[j])
        for i, picture in enumerate(row):
            corner = (left + i * step_x + (step_x - gap - width) // 2, y + (step_y - gap - height) // 2)
            scaled = _scaled(picture, factor)
            canvas.paste(scaled, corner, scaled.getchannel("A") if scaled.mode == "RGBA" else None)
    return _marked(canvas)


def captioned(image: Image.Image, labels: Sequence[str]) -> Image.Image:
    """An image of as many equally high rows as there are labels, with a label before each row."""
    step = image.height // len(labels)
    letters = _lettering(step)
    left = max(letters.width(label) for label in labels) + 8
    canvas = Image.new(image.mode, (left + image.width, image.height), (255,) * len(image.getbands()))
    for j, label in enumerate(labels):
        letters.write(canvas, left - 4 - letters.width(label), j * step + step // 2, label)
    canvas.paste(image, (left, 0))
    return _marked(canvas)


def save_image(image: Image.Image, path: str | Path) -> None:
    """Write a PNG, WebP (lossless) or JPEG by the ending of `path`, atomically.

    Other endings raise ValueError. JPEG has no transparency: RGBA images are laid on white.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path} cannot be written as an image: the name must end in .png, .webp or .jpg")
    options = dict(FORMATS[path.suffix.lower()])
    if SHEET in image.info:
        options["exif"] = Image.Exif()
        options["exif"][DESCRIPTION] = SHEET
    if options["format"] == "JPEG" and image.mode == "RGBA":
        image = on_white(image)
    with open_replacing(path) as file:
        image.save(file, **options)


def _marked(image: Image.Image) -> Image.Image:
    """Mark an image as a sheet, which `save_image` writes into the file: sheets are not samples."""
    image.info[SHEET] = True
    return image


def _scaled(image: Image.Image, factor: int) -> Image.Image:
    size = (image.width * factor, image.height * factor)
    return image if factor == 1 else image.resize(size, Image.Resampling.NEAREST)


class Lettering:
    """Writes labels, one line each, whose letters are `size` pixels high."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.height = math.ceil(ImageFont.load_default(size=size).getbbox("Ag")[3])

    def width(self, label: str) -> int:
        """Width of a label in pixels."""
        text = _spaced(label)
        return math.ceil(_font(self.size, frozenset(text)).getlength(text))

    def write(self, canvas: Image.Image, x: int, middle: int, label: str) -> None:
        """Write a label whose left end is at `x`, vertically centered at `middle`."""
        text, ink = _spaced(label), INK[: len(canvas.getbands())]
        ImageDraw.Draw(canvas).text((x, middle), text, fill=ink, font=_font(self.size, frozenset(text)), anchor="lm")


def _lettering(tile_height: int) -> Lettering:
    return Lettering(max(11, min(tile_height // 8, 28)))


def _spaced(label: str) -> str:
    return printable(label, LONGEST).replace(" ", "  ")  # Pillow's font has narrow spaces


@lru_cache(maxsize=256)
def _font(size: int, letters: frozenset[str]) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The first font of this machine that has all letters, or else Pillow's own, which draws boxes in their place."""
    own = ImageFont.load_default(size=size)
    for name in ("", *OTHERS):
        try:
            font = ImageFont.truetype(name, size) if name else own
        except OSError:
            continue
        lacking = bytes(font.getmask("\U0010ffff"))  # no font has this letter
        if all(letter.isascii() or bytes(font.getmask(letter)) != lacking for letter in letters):
            return font
    return own
