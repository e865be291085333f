"""Equal images: digests of pixels, and which of them were seen."""

import hashlib

import numpy as np
from PIL import Image

from imaging.transforms import is_opaque

RECENT = 2**16  # digests that are kept in a dictionary before they are sorted in


def digest(image: Image.Image) -> int:
    """64-bit digest of the pixels of an image (L, RGB, RGBA). Gray equals RGB of equal channels, opaque RGBA RGB.

    Ten million different images contain two of equal digest with a probability of 3 in a million.
    """
    if image.mode == "L" or (image.mode == "RGBA" and is_opaque(image)):
        image = image.convert("RGB")
    state = hashlib.blake2b(f"{image.mode} {image.size}".encode(), digest_size=8)
    state.update(image.tobytes())
    return int.from_bytes(state.digest(), "little")


class Seen:
    """Which image first had a digest. Takes 16 bytes an image: all but the recent ones are two sorted columns."""

    def __init__(self) -> None:
        self._digests = np.empty(0, dtype=np.uint64)
        self._indices = np.empty(0, dtype=np.int64)
        self._recent: dict[int, int] = {}

    def first(self, digest: int, index: int) -> int | None:
        """The image that first had this digest; None if there was none, and `index` is kept as the first."""
        if digest in self._recent:
            return self._recent[digest]
        place = int(np.searchsorted(self._digests, np.uint64(digest)))
        if place < len(self._digests) and int(self._digests[place]) == digest:
            return int(self._indices[place])
        self._recent[digest] = index
        if len(self._recent) >= RECENT:
            self._sort_in()
        return None

    def _sort_in(self) -> None:
        digests = np.concatenate([self._digests, np.array(list(self._recent), dtype=np.uint64)])
        indices = np.concatenate([self._indices, np.array(list(self._recent.values()), dtype=np.int64)])
        order = np.argsort(digests)
        self._digests, self._indices, self._recent = digests[order], indices[order], {}
