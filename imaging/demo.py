"""The embedded demo set: cartoon faces at any size, drawn when first read."""

import hashlib
from functools import cached_property
from typing import Any

import numpy as np

from imaging.cartoon import draw_face
from imaging.faces import EXPRESSIONS, FACTORS, Face, factors_of, sample_face
from imaging.imageset import ListedSet
from imaging.labels import Labels
from imaging.pixels import from_pil
from imaging.sizes import check_area, spell

VERSION = "faces 1"  # part of the fingerprint: changes if any face would look different
COUNT = 8192  # faces in the set by default
MEMORY = 512 * 2**20  # bytes of drawn pixels that are cached


class DemoSet(ListedSet):
    """`count` cartoon faces of `height` x `width`; the class is the expression. Nothing is read from disk."""

    factor_names = FACTORS

    def __init__(
        self, height: int, width: int, count: int = COUNT, seed: int = 0, mirror: bool = False, labeled: bool = True
    ) -> None:
        """Raises ValueError for a size of more than 50 megapixels, or `count` below 1."""
        check_area(height, width)
        if count < 1:
            raise ValueError(f"the demo set needs at least one face, got {count}")
        if not 0 <= seed < 2**32:
            raise ValueError(f"the seed of the demo set must be in 0..{2**32 - 1}, got {seed}")
        if labeled:
            expressions = np.arange(count, dtype=np.int64) % len(EXPRESSIONS)  # as in sample_face
            labels = Labels(expressions, EXPRESSIONS, "the class of a demo face is its expression")
        else:
            labels = Labels(np.zeros(count, dtype=np.int64), (), "labels are not used")
        identity = f"{VERSION} {spell(height, width)} count {count} seed {seed} mirror {mirror} labels {labeled}"
        fingerprint = hashlib.sha256(identity.encode()).hexdigest()
        super().__init__(f"demo{_short(height, width)}", height, width, 3, labels, mirror, fingerprint)
        self.seed = seed
        self._drawn: np.ndarray | None = None  # uint8 [kept, 3, H, W], allocated by the first read
        self._known = np.zeros(min(count, MEMORY // (3 * height * width)), dtype=bool)

    def face(self, index: int) -> Face:
        """What image `index` is drawn from."""
        return sample_face(self.seed, index)

    @cached_property
    def factors(self) -> np.ndarray:
        """float32 [images, len(factor_names)]: what each image is drawn from."""
        return np.stack([factors_of(self.face(i)) for i in range(len(self.labels))])

    def read(self, index: int) -> np.ndarray:
        if index >= len(self._known):
            return self._draw(index)
        if self._drawn is None:
            self._drawn = np.empty((len(self._known), 3, self.height, self.width), dtype=np.uint8)
        if not self._known[index]:
            self._drawn[index] = self._draw(index)
            self._known[index] = True
        return self._drawn[index].copy()

    def resized(self, height: int, width: int) -> str:
        return f"use --data demo:{spell(height, width)}"

    def _draw(self, index: int) -> np.ndarray:
        return from_pil(draw_face(self.face(index), self.height, self.width))

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process starts with an empty cache: drawing is quicker than sending."""
        return self.__dict__ | {"_drawn": None, "_known": np.zeros_like(self._known)}


def _short(height: int, width: int) -> str:
    return str(width) if height == width else spell(height, width)
