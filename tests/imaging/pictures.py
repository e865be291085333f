"""Pictures and archives that the tests are made of."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imaging.grid import enlargement

Files = dict[str, bytes | Image.Image]  # name -> content


def picture(width: int = 16, height: int = 16, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Noise that no two seeds share."""
    channels = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    array = np.random.RandomState(seed).randint(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(array[..., 0] if mode == "L" else array)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims to be huge and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def write_folder(folder: Path, files: Mapping[str, bytes | Image.Image]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else encoded(content))
    return folder


def write_zip(path: Path, files: Mapping[str, bytes | Image.Image]) -> Path:
    with zipfile.ZipFile(path, "w") as container:
        for name, content in files.items():
            container.writestr(name, content if isinstance(content, bytes) else encoded(content))
    return path


def index(labels: Any) -> bytes:
    return json.dumps({"labels": labels}).encode()


def places(sheet: Image.Image, tile: Image.Image, rows: int, columns: int) -> list[tuple[int, int]]:
    """Where a sheet of so many rows and columns shows a picture, enlarged as such a sheet does: (x, y)."""
    factor = enlargement((tile.height, tile.width), rows, columns)
    large = tile.resize((tile.width * factor, tile.height * factor), Image.Resampling.NEAREST)
    array, wanted = np.asarray(sheet.convert("RGB")), np.asarray(large.convert("RGB"))
    height, width = wanted.shape[:2]
    ys, xs = np.where((array[: len(array) - height + 1, : array.shape[1] - width + 1] == wanted[0, 0]).all(axis=2))
    same = (np.array_equal(array[y : y + height, x : x + width], wanted) for y, x in zip(ys, xs, strict=True))
    return [(int(x), int(y)) for x, y, equal in zip(xs, ys, same, strict=True) if equal]
