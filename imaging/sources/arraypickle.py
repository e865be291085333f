"""Reads pickles of plain data and byte arrays, such as CIFAR's, without running code.

numpy's own classes trust the state in a pickle, down to memory addresses. Here an array is recognized by the form that
numpy writes, and made from its bytes.
"""

import io
import math
from typing import Any

import numpy as np

from system.pickles import Built, Makers, Name, read_pickle
from system.text import printable

BYTE_STATE = (3, "|", None, None, None, -1, -1, 0)  # version, byte order, no fields; sizes as usual, no flags
MOST_DIMENSIONS, LARGEST_SIDE = 8, 2**40


def read_arrays(data: bytes) -> dict[str, Any]:
    """The dictionary that a pickle holds. Its keys are texts; a byte array in it is uint8 of its own shape.

    Texts of Python 2 are bytes, except in keys. ValueError says what is damaged, or what the pickle holds other than
    dictionaries, lists, texts, numbers and byte arrays.
    """
    content = read_pickle(io.BytesIO(data), MAKERS, strings=bytes)
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, expected a dictionary")
    return {_text(key): each.pixels if isinstance(each, _Array) else each for key, each in content.items()}


class _Byte(Built):
    """The only number type that is read."""

    def __init__(self, kind: Any, *how: Any) -> None:
        if _text(kind) != "u1":
            raise ValueError(f"it has an array of {printable(_text(kind), 20) or 'no known type'}, expected bytes (u1)")

    def build(self, state: Any) -> None:
        plain = isinstance(state, tuple) and all(isinstance(each, int | str | bytes | None) for each in state)
        if not plain or tuple(_text(each) or each for each in state) != BYTE_STATE:
            raise ValueError("it has an array of a special type, expected bytes (u1)")


class _Array(Built):
    """An array, before its state is known and after."""

    def __init__(self, kind: Any, *how: Any) -> None:
        if not isinstance(kind, Name) or kind.name != "ndarray":
            raise ValueError("it makes an array in a way that numpy does not")
        self.pixels: np.ndarray | None = None

    def build(self, state: Any) -> None:
        whole = isinstance(state, tuple) and len(state) == 5
        if not whole or not isinstance(state[2], _Byte) or not isinstance(state[4], bytes):
            raise ValueError("it has an array whose description is damaged")
        shape, content = state[1], state[4]
        sides = shape if isinstance(shape, tuple) and len(shape) <= MOST_DIMENSIONS else ("none",)
        if not all(type(side) is int and 0 <= side < LARGEST_SIDE for side in sides):
            raise ValueError("it has an array whose shape is damaged")
        if math.prod(shape) != len(content):
            raise ValueError(f"it has an array of shape {list(shape)} with {len(content)} bytes")
        self.pixels = np.frombuffer(content, dtype=np.uint8).reshape(shape, order="F" if state[3] is True else "C")


def _not_called(*how: Any) -> Any:
    raise ValueError("it makes an array in a way that numpy does not")


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value if isinstance(value, str) else ""


MAKERS: Makers = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _not_called,
    ("numpy", "dtype"): _Byte,
}
