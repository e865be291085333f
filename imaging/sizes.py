"""Which picture sizes a network can have.

A network starts at `base_height x base_width` and doubles it n times. n is the largest number for which both base
sides are whole and at least 3. Code carries (height, width); every text for people says WIDTHxHEIGHT.
"""

import re

SMALLEST_BASE_SIDE = 3
LARGEST_BASE_AREA = 256  # a larger base would make the first learned constant and the last dense layer explode
LARGEST_PICTURE = 50_000_000  # pixels; what has more is refused unread and unmade, for it would eat all memory


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

    512x384 (width x height) gives (3, 4, 7). Raises ValueError, naming the nearest size that works, when the size
    cannot be doubled at least once from a base of at most 256 pixels, or has more than 50 megapixels.
    """
    if height * width > LARGEST_PICTURE:
        raise ValueError(
            f"{spell(height, width)} are {height * width / 1e6:.0f} megapixels, and at most "
            f"{LARGEST_PICTURE // 10**6} are accepted: take a smaller size, such as "
            f"{spell(*nearest_size(height, width))}"
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
            f"16x16, or as many pixels) by doubling both sides, as 512x384 comes from 4x3; the nearest size that works "
            f"is {spell(*nearest_size(height, width))}"
        )
    return base_height, base_width, doublings


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
