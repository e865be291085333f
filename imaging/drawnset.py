"""The embedded sets of drawn textures, scenes, and both, at any size, drawn when first read."""

import hashlib
from typing import Any

import numpy as np

from imaging.imageset import ListedSet
from imaging.labels import Labels
from imaging.sizes import check_area, spell

KINDS = ("textures", "scenes", "drawings")
VERSION = "drawn 1"  # part of the fingerprint: changes if any picture would look different
COUNT = 4096  # pictures in a set by default
MEMORY = 512 * 2**20  # bytes of drawn pixels that are cached
UNLABELED = "drawn pictures have no classes"


class DrawnSet(ListedSet):
    """`count` drawn pictures of `height` x `width` of one of the `KINDS`. Nothing is read from disk."""

    def __init__(self, kind: str, height: int, width: int, count: int = COUNT, mirror: bool = False) -> None:
        """Raises ValueError for a size of more than 50 megapixels."""
        check_area(height, width)
        identity = f"{VERSION} {kind} {spell(height, width)} count {count} mirror {mirror}"
        fingerprint = hashlib.sha256(identity.encode()).hexdigest()
        short = str(width) if height == width else spell(height, width)
        labels = Labels(np.zeros(count, dtype=np.int64), (), UNLABELED)
        super().__init__(f"{kind}{short}", height, width, 3, labels, mirror, fingerprint)
        self.kind = kind
        self._drawn: dict[int, np.ndarray] = {}  # uint8 [3, H, W] each

    def held_out(self, number: int) -> np.ndarray:
        return self.read(self.count + number)

    def read(self, index: int) -> np.ndarray:
        pixels = self._drawn.get(index)
        if pixels is None:
            colors = _draw(self.kind, np.random.RandomState([0, index]), self.height, self.width)
            pixels = np.ascontiguousarray((colors * 255 + 0.5).astype(np.uint8).transpose(2, 0, 1))
            if (len(self._drawn) + 1) * pixels.size <= MEMORY:
                self._drawn[index] = pixels
        return pixels.copy()

    def resized(self, height: int, width: int) -> str:
        return f"use --data {self.kind}:{spell(height, width)}"

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process starts with an empty cache: drawing is quicker than sending."""
        return self.__dict__ | {"_drawn": {}}


def _draw(kind: str, random: np.random.RandomState, height: int, width: int) -> np.ndarray:
    """A picture of one of the `KINDS`, float32 [H, W, 3] in [0, 1]."""
    from imaging.scenes import painting, scene  # with scipy.ndimage, which scripts start sooner without
    from imaging.textures import texture

    return {"textures": texture, "scenes": scene, "drawings": painting}[kind](random, height, width)
