"""Files that are nearly right: bytes flipped, cut, blanked, moved; and values of JSON that nobody would write."""

import json
import random
from typing import Any

ODD: list[Any] = [None, -1, 0, 1, 2**31, 2**70, 1.5, 1e400, "", "a", "\0", "0", [], [[]], {}, True, ["x", "y", "z"]]


def damaged(data: bytes, chance: random.Random, first: int = 0) -> bytes:
    """One to three wounds, none before the byte `first`. Two bytes from there on will do to change it."""
    while len(data) > first + 1:
        wounded = _wounded(data, chance, first)
        if wounded != data:  # zeros that are blanked are no wound
            return wounded
    return data


def _wounded(data: bytes, chance: random.Random, first: int) -> bytes:
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        if len(data) <= first + 1:
            break
        at = chance.randrange(first, len(data))
        size = min(chance.choice([1, 2, 16, 300, 5000]), len(data) - at)
        wound = chance.choice(["flip", "flip", "blank", "noise", "cut", "drop", "double", "swap"])
        if wound == "flip":
            data = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        elif wound == "blank":
            data = data[:at] + bytes(size) + data[at + size :]
        elif wound == "noise":
            data = data[:at] + chance.randbytes(size) + data[at + size :]
        elif wound == "cut":
            data = data[:at]
        elif wound == "drop":
            data = data[:at] + data[at + size :]
        elif wound == "double":
            data = data[: at + size] + data[at:]
        else:
            other = chance.randrange(first, len(data))
            a, b = sorted((at, other))
            size = min(size, b - a, len(data) - b)
            data = data[:a] + data[b : b + size] + data[a + size : b] + data[a : a + size] + data[b + size :]
    return data


def odd(value: Any, chance: random.Random) -> Any:
    """A nest of JSON with something strange somewhere in it."""
    if isinstance(value, dict | list) and value and chance.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = chance.choice(keys)
        changed: Any = dict(value) if isinstance(value, dict) else list(value)
        if chance.random() < 0.15:
            del changed[key]
        else:
            changed[key] = odd(value[key], chance)
        return changed
    return chance.choice(ODD)


def odd_text(value: Any, chance: random.Random) -> bytes:
    """JSON text of such a nest."""
    return json.dumps(odd(value, chance)).encode()
