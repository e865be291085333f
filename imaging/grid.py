"""Many pictures on one: plain grids, labelled sheets, and saving without ever leaving half a file."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont

from imaging.pixels import to_pil
from imaging.transforms import on_white
from system.files import open_replacing

FORMATS = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}
OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 4},
    "WEBP": {"lossless": True},
    "JPEG": {"quality": 95},
}
GRID = "grid.png"  # the sheet of all pictures that a script makes, beside them
LARGEST_SHEET = 2**28  # pixels; larger ones hardly any program can open
INK, PAPER = (32, 32, 32), (255, 255, 255)


def tile(pixels: torch.Tensor, columns: int) -> Image.Image:
    """uint8 pixels [N, C, H, W] -> one picture with `columns` tiles in a row, filled row by row; gaps stay white."""
    count, channels, height, width = pixels.shape
    rows = -(-count // columns)
    canvas = pixels.new_full((rows * columns, channels, height, width), 255)
    canvas[:count] = pixels
    canvas = canvas.reshape(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4)  # [C, rows, H, columns, W]
    return to_pil(canvas.reshape(channels, rows * height, columns * width))


def sheet(
    rows: Sequence[Sequence[Image.Image]], row_labels: Sequence[str], column_labels: Sequence[str]
) -> Image.Image:
    """Rows of equally large pictures with a label before each row and above each column.

    Tiles narrower than their column's label are set wider apart, so the labels stay legible at any tile size.
    Empty sequences leave the labels out; a wrong number of labels raises ValueError.
    """
    columns = max(len(row) for row in rows)
    if (row_labels and len(row_labels) != len(rows)) or (column_labels and len(column_labels) != columns):
        raise ValueError(
            f"a sheet of {len(rows)} rows and {columns} columns got {len(row_labels)} row labels "
            f"and {len(column_labels)} column labels"
        )
    tile_width, tile_height = rows[0][0].size
    font = ImageFont.load_default(size=max(11, min(tile_height // 8, 28)))
    gap = max(2, tile_width // 64)
    text_height = math.ceil(font.getbbox("Ag")[3]) + 6
    left = max((_text_width(font, label) + 8 for label in row_labels), default=0)
    top = text_height if column_labels else 0
    step_x = max([tile_width, *(_text_width(font, label) + 4 for label in column_labels)]) + gap
    step_y = max(tile_height, text_height if row_labels else 0) + gap

    canvas = Image.new("RGB", (left + columns * step_x - gap, top + len(rows) * step_y - gap), PAPER)
    draw = ImageDraw.Draw(canvas)
    for i, label in enumerate(column_labels):
        centre = left + i * step_x + (step_x - gap) // 2
        draw.text((centre, top // 2), label, fill=INK, font=font, anchor="mm")
    for j, label in enumerate(row_labels):
        middle = top + j * step_y + (step_y - gap) // 2
        draw.text((left - 4, middle), label, fill=INK, font=font, anchor="rm")
    for j, row in enumerate(rows):
        for i, picture in enumerate(row):
            x = left + i * step_x + (step_x - gap - tile_width) // 2
            y = top + j * step_y + (step_y - gap - tile_height) // 2
            _paste(canvas, picture, (x, y))
    return canvas


def save_image(image: Image.Image, path: str | Path) -> None:
    """Write a PNG, WebP (lossless) or JPEG by the ending of `path`. The file appears whole or not at all.

    Other endings raise ValueError. JPEG has no transparency: RGBA pictures are laid on white.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path} cannot be written as a picture: the name must end in .png, .webp or .jpg")
    kind = FORMATS[path.suffix.lower()]
    if kind == "JPEG" and image.mode == "RGBA":
        image = on_white(image)
    with open_replacing(path) as file:
        image.save(file, format=kind, **OPTIONS[kind])


def _paste(canvas: Image.Image, picture: Image.Image, corner: tuple[int, int]) -> None:
    canvas.paste(picture, corner, picture.getchannel("A") if picture.mode == "RGBA" else None)


def _text_width(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str) -> int:
    return math.ceil(font.getlength(text))
