"""The generator that a script of StyleGAN2 has opened, and pictures of w that it changes."""

from collections.abc import Iterable, Iterator, Sequence

from PIL import Image
from torch import Tensor

from imaging.grid import save_image
from imaging.pixels import to_pil
from models.sampler import Request
from models.stylegan2.family import FAMILY
from models.stylegan2.generator import Generator
from models.stylegan2.sampler import StyleSampler
from sampling.command import Opened
from torch_utils.cli import progress


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
