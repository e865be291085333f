"""Pictures and films of w that moves along directions."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from imaging.grid import save_image, sheet, tile
from imaging.pixels import to_pil
from models.sampler import Request
from models.stylegan2.directions import Directions
from models.stylegan2.sampler import StyleSampler
from sampling.opening import Opened
from torch_utils.cli import counted, progress


class Start:
    """Where steps begin: the request of a picture, and its truncated w [L, D]."""

    def __init__(self, sampler: StyleSampler, request: Request) -> None:
        self.request, self.ws = request, sampler.ws([request])[0]


@dataclass(frozen=True)
class Walk:
    """The directions to take, and the layers that move; None for each direction's own layers."""

    directions: Directions
    chosen: Sequence[int]
    layers: Sequence[int] | None = None

    def ws(self, start: Start, k: int, strength: float) -> Tensor:
        """The w [L, D] after a step along direction k."""
        return self.directions.step(k, strength, start.ws[None], self.layers)[0]


def write_sheets(
    opened: Opened,
    sampler: StyleSampler,
    walk: Walk,
    starts: Sequence[Start],
    strengths: Sequence[float],
    singly: bool,
) -> str:
    """Write a sheet for each start, a row for each direction and a column for each strength.

    `singly` writes each picture by itself, too. Returns what was written, in words.
    """
    steps = [(start, k, strength) for start in starts for k in walk.chosen for strength in strengths]
    made = sampler.pictures(
        (walk.ws(*step) for step in steps), [start.request for start, _, _ in steps], opened.at_once
    )
    row, names = len(walk.chosen) * len(strengths), [walk.directions.names[k] for k in walk.chosen]
    columns = [signed(strength) for strength in strengths]
    images: list[Image.Image] = []
    for (start, k, strength), pixels in progress(zip(steps, made, strict=True), len(steps), "pictures"):
        images.append(to_pil(pixels))
        name = start.request.name
        if singly:
            save_image(images[-1], opened.outdir / f"{name}-{walk.directions.names[k]}{signed(strength)}.png")
        if len(images) == row:
            rows = [images[first : first + len(columns)] for first in range(0, row, len(columns))]
            save_image(sheet(rows, names, columns), opened.outdir / f"directions-{name}.png")
            images = []
    sheets = counted(len(starts), "sheet")
    return f"{counted(len(steps), 'picture')}, {sheets}" if singly else sheets


def frames(
    opened: Opened,
    sampler: StyleSampler,
    walk: Walk,
    starts: Sequence[Start],
    strengths: Sequence[float],
    count: int,
) -> Iterator[Image.Image]:
    """A film from the smallest strength to the largest and back, which ends where it begins.

    A frame has a row for each direction and a column for each start.
    """
    cells = [(start, k) for k in walk.chosen for start in starts]
    path = swing(min(strengths), max(strengths), count)
    ws = (walk.ws(start, k, strength) for strength in path for start, k in cells)
    made = sampler.pictures(ws, (start.request for _ in path for start, _ in cells), opened.at_once)
    for _ in path:
        yield tile(torch.stack([next(made) for _ in cells]), len(starts))


def swing(low: float, high: float, count: int) -> list[float]:
    """`count` values of a pendulum that starts from `low`: middle - amplitude cos(2 pi t / count)."""
    middle, amplitude = (low + high) / 2, (high - low) / 2
    return [middle - amplitude * math.cos(2 * math.pi * t / count) for t in range(count)]


def signed(strength: float) -> str:
    """A strength on sheets and in file names, in its shortest exact spelling: `+2`, `-0.5`."""
    return f"{strength:+g}" if float(f"{strength:g}") == strength else f"{strength:+}"
