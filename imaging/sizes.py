"""Picture sizes: how they are written, which one to choose for a set of several, and the commands that make a set.

Code carries (height, width); every text for people says WIDTHxHEIGHT.
"""

import math
import os
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from system.text import parse_size as parse_size
from system.text import printable, program, public

LARGEST_PICTURE = 50_000_000  # pixels that a training image may have: more would not fit in memory
SHAPES = ((4, 4), (4, 3), (6, 4), (16, 9), (8, 4), (12, 4))  # 1:1, 4:3, 3:2, 16:9, 2:1, 3:1 as (long, short) side
SQUARE_BELOW = 1.28  # aspects below are treated as square
LONGEST_SIDE, USUAL_SIDE = 1024, 512  # pixels; of an advised size near one size, and for images of several sizes
NEARLY = 0.95  # an image side may be enlarged by 5%
MOST = 0.75  # share of the images that should reach an advised size
TOOL = Path(__file__).resolve().parents[1] / "dataset_tool.py"


def spell(height: int, width: int) -> str:
    """The size as people read it: `WIDTHxHEIGHT`."""
    return f"{width}x{height}"


def check_area(height: int, width: int) -> None:
    """Raise ValueError for a size of more than 50 megapixels."""
    if height * width > LARGEST_PICTURE:
        raise ValueError(
            f"{spell(height, width)} is {height * width / 1e6:.0f} megapixels, but at most "
            f"{LARGEST_PICTURE // 10**6} are accepted: take a smaller size, such as {spell(*usual_size(height, width))}"
        )


def usual_size(height: int, width: int, longest: int = LONGEST_SIDE) -> tuple[int, int]:
    """A size near the given one that networks are usually trained at.

    Its aspect is 1:1, 4:3, 3:2, 16:9, 2:1 or 3:1, its sides are a small number times a power of two, and at most
    `longest` pixels. An image of the given size is enlarged by at most 5%, unless it is smaller than all usual sizes.
    """
    offered = _of_shape(_shape(height, width), longest)
    return max((size for size in offered if _reaching(size, {(height, width): 1}, NEARLY)), default=offered[0])


class Advice(NamedTuple):
    """A size to train images of several sizes at, and how many of the images are at least as large."""

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
    """Choose a size for images of these (height, width).

    It is the only size there is, or the usual size that at least half of the images have; otherwise the largest usual
    size, up to 512 pixels a side, that enlarges no more than a quarter of the images by more than 5%.
    """
    total, (size, held) = sizes.total(), sizes.most_common(1)[0]
    if len(sizes) > 1 and (2 * held < total or size != usual_size(*size)):
        shapes = Counter[tuple[int, int]]()
        for each, count in sizes.items():
            shapes[_shape(*each)] += count
        shape, alike = shapes.most_common(1)[0]
        offered = _of_shape(shape if alike >= MOST * total else SHAPES[0], USUAL_SIDE)
        reached = [size for size in offered if _reaching(size, sizes, NEARLY) >= MOST * total]
        size = max(reached, default=usual_size(*min(sizes, key=math.prod)))
    return Advice(*size, _reaching(size, sizes, 1.0), total)


def _shape(height: int, width: int) -> tuple[int, int]:
    """The usual shape, as a base (height, width), that is most like a size."""
    aspect = math.log(max(height, width, 1) / max(min(height, width), 1))
    closest = min(SHAPES, key=lambda sides: abs(math.log(sides[0] / sides[1]) - aspect))
    long, short = SHAPES[0] if aspect < math.log(SQUARE_BELOW) else closest
    return (short, long) if width >= height else (long, short)


def _of_shape(shape: tuple[int, int], longest: int) -> list[tuple[int, int]]:
    """The usual sizes of a shape, the smallest first."""
    bases = [(3, 3), (4, 4)] if shape == (4, 4) else [shape]
    sizes = [(height << n, width << n) for n in range(1, longest.bit_length()) for height, width in bases]
    return [size for size in sizes if max(size) <= longest]


def _reaching(size: tuple[int, int], sizes: Mapping[tuple[int, int], int], part: float) -> int:
    """How many images have at least `part` of both sides of `size`."""
    return sum(n for (height, width), n in sizes.items() if height >= part * size[0] and width >= part * size[1])


def one_size(source: str, sizes: Counter[tuple[int, int]], ending: str = ".zip", labels: str = "auto") -> str:
    """The command that makes a set of one size of a source whose images have these sizes, as the end of a sentence."""
    advice = advise(sizes)
    return f"make them one size with `{conversion(source, str(advice), ending, labels, sized=True)}` {advice.note}"


def conversion(source: str, mark: str, ending: str = ".zip", labels: str = "auto", sized: bool = False) -> str:
    """The command that converts `source`, as the user named it, to a new set in the working folder; ready to paste.

    If the source holds the working folder, the new set is written beside the source. The new set's name has `mark` in
    it and ends in `ending` (`.zip`, or `-%06d.tar` for shards). If `sized`, the images get the size that `mark` is.
    """
    path, folder = Path(source), Path()
    name = re.sub(r"(\.tar)?\.\w+$", "", re.sub(r"[-_.]?\d*[*\[{%?].*", "", path.name))
    if path.is_dir():
        name = path.resolve().name
        if Path.cwd().resolve().is_relative_to(path.resolve()):
            folder = Path(os.path.relpath(path.resolve().parent))
    stem = re.sub(r"[^\w .-]", "-", name)
    tool = min(os.path.relpath(TOOL), str(TOOL), key=len)
    words = [*program(tool), "--source", public(source), "--dest", str(folder / f"{stem or 'images'}-{mark}{ending}")]
    words += ["--labels", labels] if labels not in ("auto", "none") else []
    words += ["--resolution", mark] if sized else []
    return " ".join(shlex.quote(printable(word, len(word))) for word in words)
