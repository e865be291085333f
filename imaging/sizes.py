"""Which picture sizes a network can have.

A network starts at `base_height x base_width` and doubles it n times. n is the largest number for which both base
sides are whole and at least 3. Code carries (height, width); every text for people says WIDTHxHEIGHT.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

SMALLEST_BASE_SIDE = 3
LARGEST_BASE_AREA = 256  # a larger base would make the first learned constant and the last dense layer explode
LARGEST_PICTURE = 50_000_000  # pixels; what has more is refused unread and unmade, for it would eat all memory
SHAPES = ((4, 4), (4, 3), (6, 4), (16, 9), (8, 4), (12, 4))  # 1:1, 4:3, 3:2, 16:9, 2:1 and 3:1, (long, short) side
SQUARE_BELOW = 1.28  # as wide as high, for most people
LARGEST_ADVISED, USUAL_ADVISED = 1024, 512  # pixels of the longer side; of one size that all have, and of many sizes
TINY = 32  # pixels of the longer side
NEARLY = 0.95  # a side of so much of the wanted one is as good
MOST = 0.75  # of the images reach a size that is advised


def spell(height: int, width: int) -> str:
    """The size as people read it: `WIDTHxHEIGHT`."""
    return f"{width}x{height}"


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) from `WIDTHxHEIGHT`, or from one number for a square. ValueError for anything else."""
    found = re.fullmatch(r"([1-9]\d{0,5})(?:x([1-9]\d{0,5}))?", text)
    if not found:
        raise ValueError(f"'{text}' is not a size: write WIDTHxHEIGHT such as 96x64, or one number for a square")
    return int(found[2] or found[1]), int(found[1])


def base_size(height: int, width: int) -> tuple[int, int, int]:
    """Split a size in pixels into (base_height, base_width, doublings).

    512x384 (width x height) gives (3, 4, 7). Raises ValueError, naming a size near it that works, when the size
    cannot be doubled at least once from a base of at most 256 pixels, or has more than 50 megapixels.
    """
    if height * width > LARGEST_PICTURE:
        raise ValueError(
            f"{spell(height, width)} are {height * width / 1e6:.0f} megapixels, and at most "
            f"{LARGEST_PICTURE // 10**6} are accepted: take a smaller size, such as "
            f"{spell(*near_size(height, width))}"
        )
    base_height, base_width, doublings = height, width, 0
    while (
        base_height % 2 == base_width % 2 == 0
        and base_height // 2 >= SMALLEST_BASE_SIDE
        and base_width // 2 >= SMALLEST_BASE_SIDE
    ):
        base_height, base_width, doublings = base_height // 2, base_width // 2, doublings + 1
    if doublings == 0 or base_height * base_width > LARGEST_BASE_AREA:
        raise ValueError(
            f"a network cannot have the size {spell(height, width)}: a size must come from a small one (3x3 to "
            f"16x16, or as many pixels) by doubling both sides, as 512x384 comes from 4x3; a size near it that works "
            f"is {spell(*near_size(height, width))}"
        )
    return base_height, base_width, doublings


class Advice(NamedTuple):
    """A size that a person would train images of several sizes at, and how many of them are at least so large."""

    height: int
    width: int
    reached: int
    total: int

    def __str__(self) -> str:
        """The size, as --resolution takes it."""
        return spell(self.height, self.width)

    @property
    def note(self) -> str:
        """In parentheses, how many images are as large."""
        return f"({self.reached:,} of {self.total:,} are at least {self})"


def advise(sizes: Counter[tuple[int, int]]) -> Advice:
    """A size for images of these (height, width): one that at least half have already, or else that most reach.

    It has a shape that is usual, is at most 512 pixels wide or high (1024 if all images have one size), and enlarges
    none of most images by more than 5%.
    """
    total, (common, held) = sum(sizes.values()), sizes.most_common(1)[0]
    size = near_size(*common)
    if len(sizes) > 1 and (2 * held < total or size != common):
        shapes = Counter[tuple[int, int]]()
        for each, count in sizes.items():
            shapes[_shape(*each)] += count
        shape, alike = shapes.most_common(1)[0]
        offered = _of_shape(shape if alike >= MOST * total else SHAPES[0], USUAL_ADVISED)
        reached = (size for size in offered if _reaching(size, sizes, NEARLY) >= MOST * total)
        size = max(reached, key=math.prod, default=near_size(*min(sizes, key=math.prod)))
    return Advice(*size, _reaching(size, sizes, 1.0), total)


def near_size(height: int, width: int) -> tuple[int, int]:
    """A valid (height, width) near the one given that a person would train.

    It is the size itself if it is valid; of a tiny one the nearest; else one of a usual shape, hardly larger.
    """
    nearest = nearest_size(height, width)
    if max(height, width) < TINY or (nearest == (height, width) and max(nearest) <= LARGEST_ADVISED):
        return nearest
    offered = _of_shape(_shape(height, width), LARGEST_ADVISED)
    fitting = (size for size in offered if _reaching(size, {(height, width): 1}, NEARLY))
    return max(fitting, key=math.prod, default=offered[0])


def _shape(height: int, width: int) -> tuple[int, int]:
    """The usual shape, as a base (height, width), that is most like a size."""
    aspect = math.log(max(height, width, 1) / max(min(height, width), 1))
    likest = min(SHAPES, key=lambda sides: abs(math.log(sides[0] / sides[1]) - aspect))
    long, short = SHAPES[0] if aspect < math.log(SQUARE_BELOW) else likest
    return (short, long) if width >= height else (long, short)


def _of_shape(shape: tuple[int, int], longest: int) -> list[tuple[int, int]]:
    bases = [(4, 4), (3, 3)] if shape == (4, 4) else [shape]
    sizes = [(height << n, width << n) for height, width in bases for n in range(1, longest.bit_length())]
    return [size for size in sizes if max(size) <= longest]


def _reaching(size: tuple[int, int], sizes: Mapping[tuple[int, int], int], part: float) -> int:
    """How many images have at least `part` of the sides of `size`."""
    return sum(n for (height, width), n in sizes.items() if height >= part * size[0] and width >= part * size[1])


def nearest_size(height: int, width: int) -> tuple[int, int]:
    """The valid (height, width) nearest to the one given, by Euclidean distance; of equally near ones the largest.

    Of a size that is too large to be read, the half, quarter, ... is meant.
    """
    height, width = _reduced(height, width)
    return min(_candidates(height, width), key=lambda s: ((s[0] - height) ** 2 + (s[1] - width) ** 2, -s[0] * s[1]))


def _reduced(height: int, width: int) -> tuple[int, int]:
    """The size itself, or a half, a quarter, ... of it that is not too large: the shape matters more than the sides."""
    while height * width > LARGEST_PICTURE:
        height, width = max(height // 2, 1), max(width // 2, 1)
    return height, width


def _candidates(height: int, width: int) -> list[tuple[int, int]]:
    """For every number of doublings and every base height the best base width: the nearest size is among them."""
    sizes = []
    longest_base = LARGEST_BASE_AREA // SMALLEST_BASE_SIDE
    for doublings in range(1, max(height, width, 2).bit_length() + 1):
        scale = 2**doublings
        for base_height in range(SMALLEST_BASE_SIDE, longest_base + 1):
            widest = min(LARGEST_BASE_AREA, LARGEST_PICTURE // scale**2) // base_height
            if widest < SMALLEST_BASE_SIDE:
                break
            wanted = (2 * width + scale) // (2 * scale)  # rounds half up
            sizes.append((base_height * scale, min(max(wanted, SMALLEST_BASE_SIDE), widest) * scale))
    return sizes
