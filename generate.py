"""Make pictures: one for each seed, or for what an option of the network replaces seeds with, such as --latents."""

import system.start  # noqa: F401 (first)

from math import ceil, isqrt, sqrt

import click
import torch

from imaging.grid import GRID, check_sheet, save_image, tile
from imaging.pixels import to_pil
from models.sampler import Blending, Request, mixed
from sampling.classes import class_names, find_mixture
from sampling.command import Opened, learn, options, refuse, sampling_options, write_record
from torch_utils.cli import Command, Mixture, counted, progress, say

EXAMPLES = """
Examples:
  python generate.py                                     16 pictures of the newest network, in out
  python generate.py --seeds 0-35 --psi 0.7 --grid
  python generate.py --network runs/00000-ffhq-auto/network-000200.0.safetensors --seeds 85,265,297 --format webp
  python generate.py --network ffhq256 --psi 0.7         a published network, downloaded once
  python generate.py --network stylegan2.pt              a file of rosinality's or lucidrains' program
  python generate.py --seeds 0-35 --psi 0.5 --centers 32 --grid    each towards the nearest of 32 centers of w
  python generate.py --class happy --seeds 0-9 --outdir happy
  python generate.py --mix 85:1,1789:0.5                 the picture between two seeds
  python generate.py --classes happy:0.6,sad:0.4 --seeds 0-9     between two classes
  python generate.py --latents out/projected-w.npz       pictures of the latents that project.py found
"""


@click.command(cls=Command, more=learn, epilog=EXAMPLES)
@sampling_options(seeds="0-15")
@options("Pictures", ("--mix", Mixture(), None, "instead of seeds: one picture between seeds, such as 85:1,1789:0.5"))
@options("Pictures", ("--classes", "CLASS:WEIGHT,...", None, "a mixture of classes in place of --class"))
@options(
    "Output",
    ("--grid", bool, False, f"also write all pictures on one sheet, {GRID}"),
    ("--format ending", click.Choice(["png", "webp", "jpg"]), "png", "file format"),
)
def main(
    opened: Opened, seeds: list[int], mix: list[tuple[int, float]] | None, classes: str | None, grid: bool, ending: str
) -> None:
    """Make pictures, seed0000.png and so on: the same seed gives the same picture every time."""
    requests = opened.requests(seeds) if mix is None else [_between(opened, mix)]
    requests = requests if classes is None else _of_classes(opened, requests, classes)
    shape = opened.sampler.shape
    if grid:
        check_sheet(len(requests), shape[:2], "--grid", labeled=False)
    tiles = []
    made = zip(requests, opened.sampler.sample(requests, opened.at_once), strict=True)
    for request, pixels in progress(made, len(requests), "pictures"):
        save_image(to_pil(pixels), opened.outdir / f"{request.name}.{ending}")
        tiles += [pixels.cpu()] if grid else []
    if grid:
        columns = _columns(len(tiles), shape.height, shape.width)
        save_image(tile(torch.stack(tiles), columns, enlarged=True), opened.outdir / GRID)
    write_record("generate", opened, {} if mix is None else {"seeds": None})
    files = counted(len({request.name for request in requests}), f"{ending} file") + (f", {GRID}" if grid else "")
    say(f"wrote {files} and generate.json to {opened.outdir}")


def _between(opened: Opened, mix: list[tuple[int, float]]) -> Request:
    refuse(["seeds", "latents"], "with --mix, which names its seeds")
    (request,) = opened.requests([mix[0][0]])
    return mixed(request, mix)


def _of_classes(opened: Opened, requests: list[Request], classes: str) -> list[Request]:
    refuse(["label"], "with --classes, which names the classes")
    sampler, names = opened.sampler, class_names(opened.sampler.metadata, opened.sampler.shape.classes)
    if not names or not isinstance(sampler, Blending):
        why = "it blends no classes" if names else "it has none"
        raise ValueError(f"--classes does not apply to {opened.file}, because {why}: leave it out")
    parts = find_mixture(classes, names)
    return [sampler.of_classes(request, parts) for request in requests]


def _columns(count: int, height: int, width: int) -> int:
    """Columns of a sheet that is about as wide as high, or up to twice as wide if that fills all its rows."""
    squares = count * height / width
    least = min(ceil(sqrt(squares)), count)
    return next((columns for columns in range(least, isqrt(int(2 * squares)) + 1) if count % columns == 0), least)


if __name__ == "__main__":
    main()
