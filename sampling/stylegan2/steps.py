"""Pictures and films of w on its way along directions."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from imaging.grid import LABELLED, LARGEST_SHEET, save_image, sheet, tile
from imaging.pixels import to_pil
from models.stylegan2.directions import Directions
from models.stylegan2.latentfile import Latents
from sampling.sampler import Sampler
from torch_utils.cli import counted, progress


@dataclass(frozen=True)
class Start:
    """Where steps set out from."""

    name: str
    ws: Tensor  # for every layer, [L, D]
    seed: int  # of random noise
    maps: Sequence[Tensor] | None = None  # constant noise in the place of the network's: [1, H, W] for each layer


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


def starts_of_latents(sampler: Sampler, latents: Latents) -> list[Start]:
    """The latents of a file, named and truncated as generate.py does it, with the noise that was fitted to them."""
    ws = sampler.latent_ws(latents.ws)
    noises: Sequence[Sequence[Tensor] | None] = latents.noises or [None] * len(ws)
    return [Start(f"latent{n:04d}", w, n, maps) for n, (w, maps) in enumerate(zip(ws, noises, strict=True))]


def check_sheet(sampler: Sampler, rows: int, columns: int) -> None:
    """Raises ValueError when pictures in so many rows and columns make a sheet that hardly any program can open."""
    height, width = max(sampler.G.config.height, LABELLED[0]), max(sampler.G.config.width, LABELLED[1])
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
    made = _shown(sampler, (walk.ws(*step) for step in steps), [start for start, _, _ in steps])
    for step, pixels in zip(steps, made, strict=True):
        yield *step, pixels


def _shown(sampler: Sampler, ws: Iterable[Tensor], starts: Sequence[Start]) -> Iterator[Tensor]:
    """The picture of each w, uint8 [C, H, W], with the noise of its start; all starts have some or none has."""
    maps = [start.maps for start in starts if start.maps is not None]
    return sampler.pixels(ws, [start.seed for start in starts], maps or None)


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
    made = _shown(sampler, ws, [start for _ in path for start, _ in cells])
    for _ in path:
        yield tile(torch.stack([next(made) for _ in cells]), len(starts))


def swing(low: float, high: float, count: int) -> list[float]:
    """`count` values of a pendulum that sets out from `low`: middle - amplitude cos(2 pi t / count)."""
    middle, amplitude = (low + high) / 2, (high - low) / 2
    return [middle - amplitude * math.cos(2 * math.pi * t / count) for t in range(count)]


def signed(strength: float) -> str:
    """A strength as it stands on sheets and in names of files, as short as it can be said exactly: `+2`, `-0.5`."""
    return f"{strength:+g}" if float(f"{strength:g}") == strength else f"{strength:+}"
