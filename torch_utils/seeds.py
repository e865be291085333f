"""Random numbers without state: a key such as seed, iteration, phase and rank decides the numbers of a draw."""

from __future__ import annotations

import hashlib
import operator
from typing import SupportsIndex

import torch

KeyPart = SupportsIndex | str


def derive(*key: KeyPart) -> int:
    """Hash a key of texts and whole numbers to a number in 0 .. 2^63 - 1, the same on every platform.

    1 and "1" differ, as do ("ab",) and ("a", "b"). Raises TypeError for other parts.
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in key:
        if isinstance(part, bool):
            raise TypeError(f"a key consists of whole numbers and texts, got {part!r}")
        kind, text = (b"s", part) if isinstance(part, str) else (b"i", str(operator.index(part)))
        # The length comes first: otherwise ("ab", "c") and ("a", "bc") would be the same bytes.
        digest.update(kind + len(text.encode()).to_bytes(8, "little") + text.encode())
    return int.from_bytes(digest.digest(), "little") >> 1


def generator(device: torch.device | str, *key: KeyPart) -> torch.Generator:
    """Return a new `torch.Generator` on `device`, seeded by `derive(*key)`; on a CPU only its low 32 bits count."""
    return torch.Generator(device).manual_seed(derive(*key))
