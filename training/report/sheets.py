"""The sample sheets of a run as pictures within a page: fewer, smaller and compressed, so the page stays light."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image

MOST = 32  # sheets on the page: what a slider can tell apart
LONGEST = 1024  # pixels of a sheet's longer side
QUALITY = 80  # of WebP: about a tenth of the PNG
SMALL, SMALL_QUALITY = 640, 92  # sides of sheets whose single pixels are looked at

Sheet = tuple[float, Path]  # kimg and file


@dataclass(frozen=True)
class Picture:
    """A picture that needs no file."""

    uri: str
    width: int
    height: int


def thinned(sheets: Sequence[Sheet]) -> list[Sheet]:
    """At most MOST + 1 of the sheets: the first, every 2nd, 4th, 8th ... after it, and the last.

    As a run grows, those that are kept stay among those that were kept, which need not be compressed again.
    """
    step = 1
    while -(-len(sheets) // step) > MOST:
        step *= 2
    kept = list(sheets[::step])
    return kept if not sheets or kept[-1] == sheets[-1] else [*kept, sheets[-1]]


def picture(path: Path) -> Picture | None:
    """The picture of a file as the page carries it, or None where the file is damaged or gone."""
    try:
        stamp = path.stat()
        return _compressed(path, stamp.st_mtime_ns, stamp.st_size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow raises for damaged files
        return None


@lru_cache(maxsize=4 * MOST)
def _compressed(path: Path, modified: int, size: int) -> Picture:
    with Image.open(path) as image:
        shown = image if image.mode in ("RGB", "RGBA") else image.convert("RGB")
        shown.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX)
        buffer = io.BytesIO()
        quality = SMALL_QUALITY if max(shown.size) <= SMALL else QUALITY
        shown.save(buffer, "WEBP", quality=quality, method=4)
    uri = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(uri, *shown.size)
