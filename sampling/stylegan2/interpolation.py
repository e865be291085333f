"""Films between latents: what each cell of a film goes through, and the frames it shows on the way.

One frame's way: time -> (z and class ->) w, truncated -> picture; the pictures of all cells -> frame. Letters: K number
of keys, L layers, D width of w.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from imaging.grid import tile
from models.paths import Path, linear, spherical, spline
from models.stylegan2.latents import seeds_to_z, truncate
from models.stylegan2.styles import seeds_to_ws, z_to_ws
from sampling.sampler import Sampler

Kind = Literal["linear", "spherical", "spline"]
Space = Literal["z", "w"]
Size = tuple[int, int]  # rows and columns
KINDS = ("spline", "linear", "spherical")
RESAMPLING = {"nearest": Image.Resampling.NEAREST, "lanczos": Image.Resampling.LANCZOS}


@dataclass(frozen=True)
class Cell:
    """One film of a grid of them."""

    path: Path  # time -> w [L, D], truncated
    noise_seed: int  # of random noise, the same in all frames: other noise in each would boil


def cells_in_w(ws: Tensor, seeds: Sequence[int], grid: Size, kind: Kind, loop: bool) -> list[Cell]:
    """Cells that lead through truncated w [K, L, D]: the first so many keys are the first cell's, and so on.

    That is the same as truncating every frame by itself, for truncation and these ways are linear.
    """
    parts = ws.chunk(grid[0] * grid[1])
    return [Cell(_path(kind, part, loop), seed) for part, seed in zip(parts, seeds[:: len(parts[0])], strict=True)]


def cells_in_z(sampler: Sampler, seeds: Sequence[int], grid: Size, kind: Kind, loop: bool) -> list[Cell]:
    """Cells that lead through the z of the seeds, dealt out likewise."""
    each = len(seeds) // (grid[0] * grid[1])
    parts = [seeds[start : start + each] for start in range(0, len(seeds), each)]
    return [Cell(_path_in_z(sampler, part, kind, loop), part[0]) for part in parts]


def _path(kind: Kind, keys: Tensor, loop: bool) -> Path:
    """The path of this kind through keys [K, ...]."""
    if kind == "spline":
        return spline(keys, loop)
    return linear(keys) if kind == "linear" else spherical(keys)


def _path_in_z(sampler: Sampler, seeds: Sequence[int], kind: Kind, loop: bool) -> Path:
    """Through the z of seeds; every z on the way has a w of its own.

    A class changes into the next as its embedding does, on a straight line, and so do the anchors of truncation where
    the keys have several: were each frame pulled to what is nearest to it, the picture would jump half-way.
    """
    G, labels = sampler.G, sampler.labels(seeds)
    conditional = G.config.classes > 0
    keys = torch.stack(list(seeds_to_ws(G, seeds, labels if conditional else None)))  # [K, L, D]
    z = _path(kind, seeds_to_z(seeds, G.config.z_dim), loop)
    anchor = linear(sampler.anchors.of(keys, labels))
    classes = F.one_hot(torch.tensor(labels), G.config.classes).float() if conditional else None
    c = None if classes is None else linear(classes)

    def at(t: float) -> Tensor:
        of_class = None if c is None else c(t)[None].to(sampler.device)
        ws = z_to_ws(G, z(t)[None].to(sampler.device), of_class)  # [1, L, D]
        return truncate(ws, anchor(t)[None, None], sampler.psi, sampler.cutoff)[0]

    return at


def frames(
    sampler: Sampler,
    cells: Sequence[Cell],
    times: Sequence[float],
    columns: int = 1,
    scale: int = 1,
    resampling: str = "lanczos",
) -> Iterator[Image.Image]:
    """The frame at each time, made when it is asked for: the cells' pictures side by side, `scale` times as large."""
    ws = (cell.path(t) for t in times for cell in cells)
    pictures = sampler.pixels(ws, (cell.noise_seed for _ in times for cell in cells))
    while pixels := list(islice(pictures, len(cells))):
        frame = tile(torch.stack(pixels), columns)
        yield frame if scale == 1 else frame.resize((frame.width * scale, frame.height * scale), RESAMPLING[resampling])
