"""JSON of strangers, read with limits on size, nesting and numbers."""

import json
import math
from pathlib import Path
from typing import Any

LARGEST = 2**24  # bytes of a file
DEEPEST = 16  # levels of nesting
_LARGEST_WHOLE = 2**63 - 1


def json_object(text: str | bytes) -> dict[str, Any] | None:
    """Return the JSON object of a text; None if the text is not a JSON object or has more than 16 levels.

    Numbers that are infinite, nan, or whole and beyond 64 bits become None.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    try:
        found = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and _is_shallow(found, DEEPEST) else None


def read_json_object(path: Path, largest: int = LARGEST) -> dict[str, Any] | None:
    """Return the JSON object of a file, as `json_object`; None for a file of more than `largest` bytes, too."""
    with path.open("rb") as file:
        data = file.read(largest + 1)
    return json_object(data) if len(data) <= largest else None


def _whole(text: str) -> int | None:
    number = int(text) if len(text) <= len(str(-_LARGEST_WHOLE)) else _LARGEST_WHOLE + 1  # parsing many digits is slow
    return number if abs(number) <= _LARGEST_WHOLE else None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _is_shallow(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)
