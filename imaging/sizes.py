"""Which picture sizes a network can have.

A network starts at `base_height x base_width` and doubles it n times. n is the largest number for which both base
sides are whole and at least 3. Code carries (height, width); every text for people says WIDTHxHEIGHT.
"""

import re

SMALLEST_BASE_SIDE = 3
LARGEST_BASE_AREA = 256  # a larger base would make the first learned constant and the last dense layer explode


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
    cannot be doubled at least once from a base of at most 256 pixels.
    """
    base_height, base_width, doublings = height, width, 0
    while (
        base_height % 2 == base_width % 2 == 0
        and base_height // 2 >= SMALLEST_BASE_SIDE
        and base_width // 2 >= SMALLEST_BASE_SIDE
    ):
        base_height, base_width, doublings = base_height // 2, base_width // 2, doublings + 1
    if doublings == 0 or base_height * base_width > LARGEST_BASE_AREA:
        raise ValueError(
            f"a network cannot have the size {spell(height, width)}: both sides must come from a base of at least 3 "
            f"and together at most 256 pixels by doubling; the nearest size that works is "
            f"{spell(*nearest_size(height, width))}"
        )
    return base_height, base_width, doublings


def nearest_size(height: int, width: int) -> tuple[int, int]:
    """The valid (height, width) nearest to the one given, by Euclidean distance; of equally near ones the largest."""
    return min(_candidates(height, width), key=lambda s: ((s[0] - height) ** 2 + (s[1] - width) ** 2, -s[0] * s[1]))


def _candidates(height: int, width: int) -> list[tuple[int, int]]:
    """For every number of doublings and every base height the best base width: the nearest size is among them."""
    sizes = []
    longest_base = LARGEST_BASE_AREA // SMALLEST_BASE_SIDE
    for doublings in range(1, max(height, width, 2).bit_length() + 1):
        scale = 2**doublings
        for base_height in range(SMALLEST_BASE_SIDE, longest_base + 1):
            widest = LARGEST_BASE_AREA // base_height
            wanted = (2 * width + scale) // (2 * scale)  # rounds half up
            sizes.append((base_height * scale, min(max(wanted, SMALLEST_BASE_SIDE), widest) * scale))
    return sizes
