"""Types of settings in words, and how a text spells a value of a type."""

import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from torch_utils.ranges import without_separators

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    types.NoneType: "none",
}
_LIMITS = {"gt": "above {}", "ge": "of at least {}", "lt": "below {}", "le": "of at most {}"}


def wanted(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Describe a type with limits (pydantic's metadata): `a number of at least 0`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return _either([str(choice) for choice in arguments])
    if origin in (Union, types.UnionType):
        return _either([wanted(kind, metadata if kind in (int, float) else ()) for kind in arguments])
    if hasattr(annotation, "__metadata__"):  # Annotated[int, Ge(1)], as inside a tuple
        return wanted(arguments[0], annotation.__metadata__)
    if origin is list or (origin is tuple and Ellipsis in arguments):
        return f"a list with commas, each {wanted(arguments[0])}"
    if origin is tuple:
        return "with commas between them: " + ", ".join(map(wanted, arguments))
    return " ".join([_WORDS.get(annotation, f"a {getattr(annotation, '__name__', annotation)}"), *_bounds(metadata)])


def limits(metadata: Sequence[Any]) -> dict[str, Any]:
    """Return the bounds among pydantic's metadata: {"ge": 0, "lt": 1}."""
    bounds: dict[str, Any] = {}
    for item in metadata:
        # Annotated[int, Field(ge=1)] keeps its bounds one level deeper.
        bounds |= limits(item.metadata) if isinstance(item, FieldInfo) else {}
        bounds |= {name: bound for name in _LIMITS if (bound := getattr(item, name, None)) is not None}
    return bounds


def said(text: str, annotation: Any) -> Any:
    """Prepare a text for pydantic: split lists at commas, turn "none" into None, ignore case and separators (5,000)."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return next((choice for choice in arguments if str(choice).lower() == text.lower()), text)
    if annotation in (int, float):
        return without_separators(text)
    if origin in (Union, types.UnionType):
        if types.NoneType in arguments and text.lower() == "none":
            return None
        origin = next((kind for argument in arguments if (kind := get_origin(argument)) in (tuple, list)), None)
    if origin in (tuple, list):
        return [part.strip() for part in text.split(",")] if text else []
    return text


def _bounds(metadata: Sequence[Any]) -> list[str]:
    bounds = limits(metadata)
    if "ge" in bounds and "le" in bounds:
        return [f"from {bounds['ge']} to {bounds['le']}"]
    words = [words.format(bounds[name]) for name, words in _LIMITS.items() if name in bounds]
    return [" and ".join(words)] if words else []


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
