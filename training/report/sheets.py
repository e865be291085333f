"""The sample sheets of a run as pictures inside a page: fewer, smaller and compressed, to keep the page light."""

import base64
import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image

MOST = 32  # sheets on the page
LONGEST = 1024  # pixels of the longer side

Sheet = tuple[float, Path]  # kimg and file


class Picture(NamedTuple):
    """A picture as a data URI."""

    uri: str
    width: int
    height: int


def thinned(sheets: Sequence[Sheet]) -> list[Sheet]:
    """At most MOST + 1 of the sheets: the first, every 2nd, 4th, 8th ... after it, and the last.

    As a run grows, the sheets that are kept were kept before, so they need not be compressed again.
    """
    step = 1
    while -(-len(sheets) // step) > MOST:
        step *= 2
    kept = list(sheets[::step])
    return kept if not sheets or kept[-1] == sheets[-1] else [*kept, sheets[-1]]


def picture(path: Path) -> Picture | None:
    """The picture in a file; None if the file is damaged or missing."""
    try:
        return _compressed(path, path.stat().st_mtime_ns) if path.is_file() else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow raises for damaged files
        return None


@lru_cache(maxsize=4 * MOST)
def _compressed(path: Path, modified: int) -> Picture:
    with Image.open(path) as image:
        shown = image if image.mode in ("RGB", "RGBA") else image.convert("RGB")
        shown.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX)
        buffer = io.BytesIO()
        shown.save(buffer, "WEBP", quality=85)
    uri = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(uri, shown.width, shown.height)
