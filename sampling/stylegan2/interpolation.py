"""Films between latents: the path of each cell of a film, and the frames on the way.

A frame is made like this: time -> (z and class ->) truncated w -> picture; the pictures of all cells -> frame.
Letters: K number of keys, L layers, D width of w.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from imaging.grid import tile
from models.paths import Path, linear, spherical, spline
from models.sampler import Request, SeedStream
from models.stylegan2.mapping import truncate
from models.stylegan2.sampler import StyleSampler

KINDS = ("spline", "linear", "spherical")  # of paths


def cell_paths(
    sampler: StyleSampler, requests: Sequence[Request], cells: int, space: str, kind: str, loop: bool
) -> list[Path]:
    """The path of each cell through its keys, dealt out in order: time -> truncated w [L, D].

    In w, truncation and the paths are linear, so truncating the keys is the same as truncating every frame.
    """
    each = len(requests) // cells
    keys = [requests[n : n + each] for n in range(0, len(requests), each)]
    if space == "z":
        return [_path_in_z(sampler, part, kind, loop) for part in keys]
    return [_path(kind, sampler.ws(part), loop) for part in keys]


def _path(kind: str, keys: Tensor, loop: bool) -> Path:
    """The path of this kind through keys [K, ...]."""
    if kind == "spline":
        return spline(keys, loop)
    return linear(keys) if kind == "linear" else spherical(keys)


def _path_in_z(sampler: StyleSampler, requests: Sequence[Request], kind: str, loop: bool) -> Path:
    """Through the z of requests; every z on the way has its own w.

    A class changes into the next along a straight line of its embedding, and so does the anchor of truncation: if each
    frame took the center nearest to it, the picture would jump half-way.
    """
    G, options = sampler.G, sampler.options
    labels = [request.label for request in requests]
    z = _path(kind, sampler.latents(requests).cpu(), loop)
    anchor = linear(sampler.anchors.of(sampler.ws(requests, psi=1), labels))
    classes = sampler.shape.classes
    c = linear(F.one_hot(torch.tensor(labels), classes).float()) if classes else None

    @torch.no_grad()
    def at(t: float) -> Tensor:
        of_class = None if c is None else c(t)[None].to(sampler.device)
        ws = G.ws(z(t)[None].to(sampler.device), of_class)  # [1, L, D]
        return truncate(ws, anchor(t)[None, None], options.psi, options.psi_cutoff)[0]

    return at


def frames(
    sampler: StyleSampler,
    paths: Sequence[Path],
    seeds: Sequence[int],
    times: Sequence[float],
    at_once: int,
    columns: int,
) -> Iterator[Image.Image]:
    """The frame at each time, made when it is asked for: the cells' pictures side by side.

    `seeds` are of random noise, the same in all frames of a cell: new noise in each frame would flicker.
    """
    ws = (path(t) for t in times for path in paths)
    requests = (Request("", None, SeedStream(seed)) for _ in times for seed in seeds)
    pictures = sampler.pictures(ws, requests, at_once)
    while pixels := list(islice(pictures, len(paths))):
        yield tile(torch.stack(pixels), columns)
