"""Pictures and films of w on its way along directions."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from imaging.grid import LARGEST_SHEET, save_image, sheet, tile
from imaging.pixels import to_pil
from models.stylegan2.directions import Directions
from sampling.latentfile import load_ws
from sampling.sampler import Sampler
from torch_utils.cli import counted, progress

LABEL = (20, 64)  # about the least height and width of a picture on a sheet with labels


@dataclass(frozen=True)
class Start:
    """Where steps set out from: its name, its w for every layer [L, D], and the seed of random noise."""

    name: str
    ws: Tensor
    seed: int


@dataclass(frozen=True)
class Walk:
    """Which directions are gone, and in which layers; None are each direction's own."""

    directions: Directions
    chosen: Sequence[int]
    layers: Sequence[int] | None = None

    def ws(self, start: Start, k: int, strength: float) -> Tensor:
        """The w [L, D] of a start after a step along direction k."""
        return self.directions.step(k, strength, start.ws[None], self.layers)[0]


def starts_of_seeds(sampler: Sampler, seeds: Sequence[int]) -> list[Start]:
    """The truncated w of seeds, named as generate.py names their pictures."""
    seeds = list(dict.fromkeys(seeds))
    return [Start(f"seed{seed:04d}", ws, seed) for seed, ws in zip(seeds, sampler.ws(seeds), strict=True)]


def starts_of_file(sampler: Sampler, path: Path) -> list[Start]:
    """The w of a file of latents, as they are; errors as those of `load_ws`."""
    return [Start(f"latent{n:04d}", ws, n) for n, ws in enumerate(load_ws(path, sampler.G))]


def check_sheet(sampler: Sampler, rows: int, columns: int) -> None:
    """Raises ValueError when pictures in so many rows and columns make a sheet that hardly any program can open."""
    height, width = max(sampler.G.config.height, LABEL[0]), max(sampler.G.config.width, LABEL[1])
    most = LARGEST_SHEET // (height * width)
    if rows * columns > most:
        raise ValueError(
            f"a sheet of {rows} directions at {columns} strengths has {rows * columns} pictures, and at most {most} of "
            f"this size fit on one: take fewer directions or strengths"
        )


def check_frames(sampler: Sampler, rows: int, columns: int) -> None:
    """Raises ValueError when pictures in so many rows and columns are too large for the frame of a film."""
    most = LARGEST_SHEET // (sampler.G.config.height * sampler.G.config.width)
    if rows * columns > most:
        raise ValueError(
            f"frames of {rows} directions and {columns} seeds have {rows * columns} pictures, and at most {most} of "
            f"this size fit in one: take fewer directions or seeds"
        )


def pictures(
    sampler: Sampler, walk: Walk, starts: Iterable[Start], strengths: Sequence[float]
) -> Iterator[tuple[Start, int, float, Tensor]]:
    """Each start, direction and strength, in this order, with its picture: uint8 pixels [C, H, W]."""
    steps = [(start, k, strength) for start in starts for k in walk.chosen for strength in strengths]
    made = sampler.pixels((walk.ws(*step) for step in steps), [start.seed for start, _, _ in steps])
    for step, pixels in zip(steps, made, strict=True):
        yield *step, pixels


def _sheet(walk: Walk, strengths: Sequence[float], tiles: Sequence[Tensor]) -> Image.Image:
    """One start's pictures, as `pictures` gives them: a row for each direction, a column for each strength."""
    row, images = len(strengths), [to_pil(pixels) for pixels in tiles]
    rows = [images[first : first + row] for first in range(0, len(images), row)]
    names = [walk.directions.names[k] for k in walk.chosen]
    return sheet(rows, names, [signed(strength) for strength in strengths])


def write_sheets(
    sampler: Sampler, walk: Walk, starts: Sequence[Start], strengths: Sequence[float], singly: bool
) -> str:
    """Writes a sheet for each start, and each picture by itself if asked; returns what was written in words."""
    row = len(walk.chosen) * len(strengths)
    tiles: list[Tensor] = []
    made = pictures(sampler, walk, starts, strengths)
    for start, k, strength, pixels in progress(made, len(starts) * row, "pictures"):
        if singly:
            name = f"{start.name}-{walk.directions.names[k]}{signed(strength)}.png"
            save_image(to_pil(pixels), sampler.outdir / name)
        tiles.append(pixels)
        if len(tiles) == row:
            save_image(_sheet(walk, strengths, tiles), sampler.outdir / f"directions-{start.name}.png")
            tiles = []
    sheets = counted(len(starts), "sheet")
    return f"{counted(len(starts) * row, 'picture')}, {sheets}" if singly else sheets


def frames(
    sampler: Sampler, walk: Walk, starts: Sequence[Start], strengths: Sequence[float], count: int
) -> Iterator[Image.Image]:
    """A film from the smallest strength to the largest and back, which ends where it begins.

    A frame has a row for each direction and a column for each start.
    """
    cells = [(start, k) for k in walk.chosen for start in starts]
    path = swing(min(strengths), max(strengths), count)
    ws = (walk.ws(start, k, strength) for strength in path for start, k in cells)
    made = sampler.pixels(ws, (start.seed for _ in path for start, _ in cells))
    for _ in path:
        yield tile(torch.stack([next(made) for _ in cells]), len(starts))


def swing(low: float, high: float, count: int) -> list[float]:
    """`count` values of a pendulum that sets out from `low`: middle - amplitude cos(2 pi t / count)."""
    middle, amplitude = (low + high) / 2, (high - low) / 2
    return [middle - amplitude * math.cos(2 * math.pi * t / count) for t in range(count)]


def signed(strength: float) -> str:
    """A strength as it stands on sheets and in names of files, as short as it can be said exactly: `+2`, `-0.5`."""
    return f"{strength:+g}" if float(f"{strength:g}") == strength else f"{strength:+}"
