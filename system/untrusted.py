"""Reads files of strangers: NumPy arrays and JSON with limits, and files that are mistaken for others."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from system.text import printable

LARGEST_UNPACKED = 2**30  # bytes of all wanted arrays of a smaller archive
DEEPEST = 16  # levels of nested JSON

_PAGE = r"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b"
_MISTAKEN = {  # the beginning of a file -> its kind
    r"\s*\Z": "an empty file",
    _PAGE: "a web page",
    "version https://git-lfs.github.com/spec/": "a pointer of Git LFS, not the file itself (git lfs pull fetches it)",
    r'\s*(?:\{\s*"(?:error|message|detail|errors)"\s*:|<\?xml[^>]*>\s*<error\b)': "an error message of a server",
}


def mistaken(path: Path) -> str:
    """Return "a web page" (an error or a login instead of a download), "an empty file", ...; "" for any other file."""
    with path.open("rb") as file:
        return mistaken_content(file.read(1024))


def mistaken_content(head: bytes) -> str:
    """Return the kind of a file that begins with `head`, as `mistaken` does."""
    kinds = (what for start, what in _MISTAKEN.items() if re.match(start.encode("latin-1"), head, re.I | re.S))
    return next(kinds, "")


def json_object(text: str | bytes) -> dict[str, Any] | None:
    """Return the JSON object of a text; None if the text is not a JSON object or has more than 16 levels.

    Numbers that are infinite, nan, or whole and beyond 64 bits become None.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")

    def whole(text: str) -> int | None:
        return number if len(text) < 30 and abs(number := int(text)) < 2**63 else None  # parsing many digits is slow

    def finite(text: str) -> float | None:
        return number if math.isfinite(number := float(text)) else None

    try:
        found = json.loads(text, parse_int=whole, parse_float=finite, parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and _is_shallow(found, DEEPEST) else None


def load_arrays(
    path: Path, wanted: Callable[[str], bool] = lambda name: True, most: int = LARGEST_UNPACKED
) -> dict[str, np.ndarray]:
    """Read a NumPy file of any ending: name -> array, in native byte order and writable. A single array (.npy) is "".

    `wanted` chooses arrays of an archive by name; they may take `most` bytes, or the size of a larger file. Raises
    ValueError if it is not a NumPy file, is damaged, or a wanted array contains anything but numbers.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file: give a NumPy file (.npy or .npz)")
    with path.open("rb") as file:
        try:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"": _numbers(loaded)}
            entries = [entry for entry in loaded.zip.infolist() if wanted(entry.filename.removesuffix(".npy"))]
            most = max(most, path.stat().st_size)
            if sum(entry.file_size for entry in entries) > most:
                raise ValueError(f"its arrays take more than {most} bytes")
            return {name: _numbers(loaded[name]) for name in loaded.files if wanted(name)}
        except Exception as error:  # parsers and decompressors raise nearly anything for damaged bytes
            why = printable(" ".join(str(error).split()), 120) or type(error).__name__
            raise ValueError(f"{path} is not a whole NumPy file of numbers ({why})") from error


def load_array(path: Path) -> np.ndarray:
    """Read a file with a single array. Raises as `load_arrays`, and ValueError for an archive."""
    found = load_arrays(path, wanted=lambda name: False)
    if "" not in found:
        raise ValueError(f"{path} is an archive of arrays (.npz), expected a single array (.npy)")
    return found[""]


def _numbers(array: np.ndarray) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise ValueError("it has values other than numbers")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _is_shallow(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)
