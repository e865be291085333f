"""The embedded demo set: cartoon faces at any size, drawn when first read."""

import hashlib
from bisect import bisect_right
from dataclasses import astuple, fields
from functools import cached_property
from typing import Any

import numpy as np

from imaging.cartoon import EXPRESSIONS, HAIR_STYLES, Face, draw_face
from imaging.imageset import ListedSet
from imaging.labels import Labels
from imaging.pixels import from_pil
from imaging.sizes import check_area, spell

VERSION = "faces 1"  # part of the fingerprint: changes if any face would look different
COUNT = 8192  # faces in the set by default
MEMORY = 512 * 2**20  # bytes of drawn pixels that are cached
GLASSES_UP_TO = np.cumsum([0.7, 0.15, 0.15]).tolist()  # cumulative shares of all faces
FACTORS = tuple(field.name for field in fields(Face))


def sample_face(seed: int, index: int) -> Face:
    """Face `index` of the world `seed` (both 0..2**32-1). Any 5 successive faces show all classes."""
    draws = np.random.RandomState([seed, index])  # its stream is frozen
    turn, tilt, shift, parting = draws.uniform(-1, 1, 4).tolist()
    u = draws.uniform(0, 1, 10).tolist()
    style, glasses = int(draws.randint(len(HAIR_STYLES))), bisect_right(GLASSES_UP_TO, draws.random_sample())
    middle = u[3], u[4], u[5], u[6], glasses, index % len(EXPRESSIONS)
    return Face(turn, tilt, shift, u[0], u[1], style, u[2], parting, *middle, u[7], u[8], u[9])


def factors_of(face: Face) -> np.ndarray:
    """The numbers of a face as float32 [17], in the order of FACTORS."""
    return np.array(astuple(face), dtype=np.float32)


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
        short = str(width) if height == width else spell(height, width)
        super().__init__(f"demo{short}", height, width, 3, labels, mirror, fingerprint)
        self.seed = seed
        self._drawn: dict[int, np.ndarray] = {}  # uint8 [3, H, W] each

    def face(self, index: int) -> Face:
        """What image `index` is drawn from."""
        return sample_face(self.seed, index)

    @cached_property
    def factors(self) -> np.ndarray:
        """float32 [images, len(factor_names)]: what each image is drawn from."""
        return np.stack([factors_of(self.face(i)) for i in range(len(self.labels))])

    def held_out(self, number: int) -> np.ndarray:
        return self.read(self.count + number)

    def read(self, index: int) -> np.ndarray:
        pixels = self._drawn.get(index)
        if pixels is None:
            pixels = from_pil(draw_face(self.face(index), self.height, self.width))
            if (index + 1) * pixels.size <= MEMORY:
                self._drawn[index] = pixels
        return pixels.copy()

    def resized(self, height: int, width: int) -> str:
        return f"use --data demo:{spell(height, width)}"

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process starts with an empty cache: drawing is quicker than sending."""
        return self.__dict__ | {"_drawn": {}}
