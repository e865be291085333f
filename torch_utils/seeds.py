"""Stateless randomness: every draw has a key, and the key alone decides the numbers.

A run that draws from `generator(device, seed, iteration, phase, rank, purpose)` keeps no generator states: it resumes
exactly, and a draw added in one place moves no draw in another.
"""

import hashlib
import operator
from typing import SupportsIndex

import torch

KeyPart = SupportsIndex | str


def derive(*key: KeyPart) -> int:
    """A number in 0 .. 2^63 - 1 that depends on `key` alone, the same on every platform and Python version.

    The parts are whole numbers of any size and texts. 1 and "1" are different parts, as are ("ab",) and ("a", "b").
    Raises TypeError for any other part: a float or a truth value has no agreed spelling.
    """
    digest = hashlib.blake2b(b"".join(_encoded(part) for part in key), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(device: torch.device | str, *key: KeyPart) -> torch.Generator:
    """A fresh `torch.Generator` on `device`, seeded by `derive(*key)`.

    The CPU's generator takes only the low 32 bits of a seed, so two of some millions of keys may share a stream there.
    """
    return torch.Generator(device).manual_seed(derive(*key))


def _encoded(part: KeyPart) -> bytes:
    if isinstance(part, str):
        kind, text = b"s", part.encode()
    elif isinstance(part, bool):
        raise TypeError(f"a key is made of whole numbers and texts, got {part!r}")
    else:
        kind, text = b"i", str(operator.index(part)).encode()
    # The length goes first: without it ("ab", "c") and ("a", "bc") would be the same bytes.
    return kind + len(text).to_bytes(8, "little") + text
