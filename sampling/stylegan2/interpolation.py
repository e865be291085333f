"""Films between latents: the path of each cell of a film, and the frames on the way.

A frame is made like this: time -> (z and class ->) truncated w -> picture; the pictures of all cells -> frame.
Letters: K number of keys, L layers, D width of w.
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
from models.paths import Path, slerp, spline, through
from models.sampler import Request, SeedStream
from models.stylegan2.latents import truncate
from models.stylegan2.sampler import StyleSampler

Kind = Literal["linear", "spherical", "spline"]
Space = Literal["z", "w"]
Size = tuple[int, int]  # rows and columns
KINDS = ("spline", "linear", "spherical")
RESAMPLING = {"nearest": Image.Resampling.NEAREST, "lanczos": Image.Resampling.LANCZOS}


@dataclass(frozen=True)
class Cell:
    """One film of a grid of them."""

    path: Path  # time -> truncated w [L, D]
    noise_seed: int  # of random noise, the same in all frames: new noise in each frame would flicker


def cells_in_w(ws: Tensor, seeds: Sequence[int], grid: Size, kind: Kind, loop: bool) -> list[Cell]:
    """Cells whose paths lead through truncated w [K, L, D]; the keys are dealt out in order.

    Truncation and these paths are linear, so truncating the keys is the same as truncating every frame.
    """
    parts = ws.chunk(grid[0] * grid[1])
    return [Cell(_path(kind, part, loop), seed) for part, seed in zip(parts, seeds[:: len(parts[0])], strict=True)]


def cells_in_z(
    sampler: StyleSampler, requests: Sequence[Request], seeds: Sequence[int], grid: Size, kind: Kind, loop: bool
) -> list[Cell]:
    """Cells whose paths lead through the z of requests; the keys are dealt out in order."""
    each = len(seeds) // (grid[0] * grid[1])
    starts = range(0, len(seeds), each)
    return [Cell(_path_in_z(sampler, requests[n : n + each], kind, loop), seeds[n]) for n in starts]


def _path(kind: Kind, keys: Tensor, loop: bool) -> Path:
    """The path of this kind through keys [K, ...]."""
    if kind == "spline":
        return spline(keys, loop)
    return through(keys, slerp) if kind == "spherical" else through(keys)


def _path_in_z(sampler: StyleSampler, requests: Sequence[Request], kind: Kind, loop: bool) -> Path:
    """Through the z of requests; every z on the way has its own w.

    A class changes into the next along a straight line of its embedding, and so does the anchor of truncation: if each
    frame took the center nearest to it, the picture would jump half-way.
    """
    G, options = sampler.G, sampler.options
    labels = [request.label for request in requests]
    z = _path(kind, sampler.latents(requests).cpu(), loop)
    anchor = through(sampler.anchors.of(sampler.ws(requests, psi=1), labels))
    classes = sampler.shape.classes
    c = through(F.one_hot(torch.tensor(labels), classes).float()) if classes else None

    @torch.no_grad()
    def at(t: float) -> Tensor:
        of_class = None if c is None else c(t)[None].to(sampler.device)
        ws = G.ws(z(t)[None].to(sampler.device), of_class)  # [1, L, D]
        return truncate(ws, anchor(t)[None, None], options.psi, options.psi_cutoff)[0]

    return at


def frames(
    sampler: StyleSampler,
    cells: Sequence[Cell],
    times: Sequence[float],
    at_once: int,
    columns: int = 1,
    scale: int = 1,
    resampling: str = "lanczos",
) -> Iterator[Image.Image]:
    """The frame at each time, made when it is asked for: the cells' pictures side by side, `scale` times as large."""
    ws = (cell.path(t) for t in times for cell in cells)
    requests = (Request("", None, SeedStream(cell.noise_seed)) for _ in times for cell in cells)
    pictures = sampler.pictures(ws, requests, at_once)
    while pixels := list(islice(pictures, len(cells))):
        frame = tile(torch.stack(pixels), columns)
        yield frame if scale == 1 else frame.resize((frame.width * scale, frame.height * scale), RESAMPLING[resampling])
