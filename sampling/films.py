"""Films of networks whose latents can be changed little by little: paths through key frames, and their pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import torch
from PIL import Image

from imaging.grid import tile
from models import paths
from models.sampler import Request, Stream, Walkable
from sampling.command import Opened

PATHS: dict[str, Callable[[torch.Tensor, bool], paths.Path]] = {  # through keys [K, ...], closed or not
    "spline": lambda keys, loop: paths.spline(keys, loop),
    "linear": lambda keys, loop: paths.through(keys),
    "spherical": lambda keys, loop: paths.through(keys, paths.slerp),
}


def walkable(opened: Opened) -> Walkable:
    """The opened sampler. Raise ValueError if its latents or options allow no films."""
    if not isinstance(opened.sampler, Walkable):
        kind = f"{opened.file} holds a network of {opened.file.family.title}"
        raise ValueError(f"films need a network whose latents can be changed little by little, but {kind}")
    opened.options.check_still()
    return opened.sampler


def great_circles(sampler: Walkable, keys: Sequence[Request], loop: bool) -> paths.Path:
    """The path through the latents of key frames, each computed by itself, on great circles."""
    return PATHS["spherical"](torch.cat([sampler.map(sampler.latents([key]), [key]) for key in keys]), loop)


def on_the_way(keys: Sequence[Request], stream: Stream, t: float) -> Request:
    """The frame at a time: the class of the nearest key frame, and the same stream of noise in the whole film."""
    return Request("", keys[math.floor(t + 0.5) % len(keys)].label, stream)


def draw_frames(
    opened: Opened, ws: Iterable[torch.Tensor], requests: Iterable[Request], cells: int, columns: int
) -> Iterator[Image.Image]:
    """Frames of `cells` pictures side by side, of their latents and requests, frame after frame."""
    made = walkable(opened).pictures(ws, requests, opened.at_once)
    while pixels := list(islice(made, cells)):
        yield tile(torch.stack(pixels), columns)
