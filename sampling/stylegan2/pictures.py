"""Pictures and films of w that scripts of StyleGAN2 change: moved along directions, or on paths from key to key."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from imaging.grid import save_image, sheet
from imaging.pixels import to_pil
from models.paths import Path, through
from models.sampler import Request
from models.stylegan2.directionfile import Directions
from models.stylegan2.family import FAMILY
from models.stylegan2.generator import Generator
from models.stylegan2.mapping import truncate
from models.stylegan2.sampler import StyleSampler
from sampling.command import Opened
from sampling.films import PATHS, draw_frames
from torch_utils.cli import counted, progress


def styles(opened: Opened) -> StyleSampler:
    """The sampler of a network with styles, which `sampling_options(model=StyleOptions)` has made sure of."""
    assert isinstance(opened.sampler, StyleSampler)
    return opened.sampler


def generator(opened: Opened, who: str) -> Generator:
    """A StyleGAN2's generator. Raise ValueError for a network of another program, which `who` cannot work on."""
    opened.file.require(FAMILY, who)
    G = styles(opened).G
    assert isinstance(G, Generator)
    return G


def draw_pictures(
    opened: Opened, ws: Iterable[Tensor], requests: Sequence[Request], names: Sequence[str]
) -> Iterator[Image.Image]:
    """Make pictures of w [L, D] with the noise of requests, and yield each, written as NAME.png unless NAME is ""."""
    made = styles(opened).pictures(ws, requests, opened.at_once)
    for name, pixels in progress(zip(names, made, strict=True), len(names), "pictures"):
        picture = to_pil(pixels)
        if name:
            save_image(picture, opened.outdir / f"{name}.png")
        yield picture


def in_rows(pictures: Sequence[Image.Image], columns: int) -> list[Sequence[Image.Image]]:
    """Pictures in rows of so many columns."""
    return [pictures[first : first + columns] for first in range(0, len(pictures), columns)]


def signed(value: float) -> str:
    """A number on sheets and in file names, in its shortest exact spelling: `+2`, `-0.5`."""
    return f"{value:+g}" if float(f"{value:g}") == value else f"{value:+}"


class Walk:
    """Steps from the w of some pictures along directions, in `layers` or each direction's own."""

    def __init__(
        self, opened: Opened, requests: list[Request], found: Directions, chosen: list[int], layers: list[int] | None
    ) -> None:
        self.opened, self.directions, self.chosen, self.layers = opened, found, chosen, layers
        self.starts = [(request, styles(opened).ws([request])) for request in requests]  # w [1, L, D]

    def write_sheets(self, strengths: Sequence[float], singly: bool) -> str:
        """Write a sheet for each picture, a row for each direction and a column for each strength.

        `singly` writes each picture by itself, too. Returns what was written, in words.
        """
        columns, labels = [signed(strength) for strength in strengths], [self.directions.names[k] for k in self.chosen]
        steps = [(k, strength) for k in self.chosen for strength in strengths]
        ws = (self._moved(ws, *step) for _, ws in self.starts for step in steps)
        requests = [request for request, _ in self.starts for _ in steps]
        names = [f"{r.name}-{label}{column}" for r, _ in self.starts for label in labels for column in columns]
        made = draw_pictures(self.opened, ws, requests, names if singly else [""] * len(names))
        for request, _ in self.starts:
            rows = in_rows(list(islice(made, len(steps))), len(columns))
            save_image(sheet(rows, labels, columns), self.opened.outdir / f"directions-{request.name}.png")
        list(made)  # ends the progress bar
        sheets = counted(len(self.starts), "sheet")
        return f"{counted(len(names), 'picture')}, {sheets}" if singly else sheets

    def frames(self, strengths: Sequence[float], count: int) -> Iterator[Image.Image]:
        """A film from the smallest strength to the largest and back: rows of directions, columns of pictures."""
        cells = [(request, ws, k) for k in self.chosen for request, ws in self.starts]
        path = swing(min(strengths), max(strengths), count)
        moved = (self._moved(ws, k, strength) for strength in path for _, ws, k in cells)
        noise = (request for _ in path for request, _, _ in cells)  # of the place, so that it does not flicker
        return draw_frames(self.opened, moved, noise, len(cells), len(self.starts))

    def _moved(self, ws: Tensor, k: int, strength: float) -> Tensor:
        return self.directions.step(k, strength, ws, self.layers)[0]


def swing(low: float, high: float, count: int) -> list[float]:
    """`count` values of a pendulum that starts from `low`: middle - amplitude cos(2 pi t / count)."""
    middle, amplitude = (low + high) / 2, (high - low) / 2
    return [middle - amplitude * math.cos(2 * math.pi * t / count) for t in range(count)]


def style_path(sampler: StyleSampler, keys: Sequence[Request], space: str, kind: str, loop: bool) -> Path:
    """The path through key frames in z or w: time -> truncated w [L, D]."""
    if space == "z":
        return _path_in_z(sampler, keys, kind, loop)
    # Truncation and these paths are linear, so truncating the keys is the same as truncating every frame.
    return PATHS[kind](sampler.ws(keys), loop)


def _path_in_z(sampler: StyleSampler, requests: Sequence[Request], kind: str, loop: bool) -> Path:
    """Through the z of requests; classes and anchors of truncation change on straight lines, without a jump."""
    G, options = sampler.G, sampler.options
    labels = [request.label for request in requests]
    z = PATHS[kind](sampler.latents(requests).cpu(), loop)
    anchor = through(sampler.anchors.of(sampler.ws(requests, psi=1), labels))
    classes = sampler.shape.classes
    c = through(F.one_hot(torch.tensor(labels), classes).float()) if classes else None

    @torch.no_grad()
    def at(t: float) -> Tensor:
        of_class = None if c is None else c(t)[None].to(sampler.device)
        ws = G.ws(z(t)[None].to(sampler.device), of_class)  # [1, L, D]
        ws = truncate(ws, anchor(t)[None, None], options.psi, options.psi_cutoff, options.psi_from)
        return sampler.composed(ws)[0]

    return at
