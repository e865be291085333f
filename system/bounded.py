"""JSON of strangers, read with limits on nesting and numbers."""

import json
import math
from typing import Any

DEEPEST = 16  # levels of nesting


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


def _whole(text: str) -> int | None:
    number = int(text) if len(text) < 30 else 2**63  # parsing many digits is slow
    return number if abs(number) < 2**63 else None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _is_shallow(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)
