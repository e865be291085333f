"""Make pictures: one for each seed."""

from math import ceil, sqrt

import click
import torch

from imaging.grid import LARGEST_SHEET, save_image, tile
from imaging.pixels import to_pil
from sampling.options import sampling_options, write_record
from sampling.sampler import Sampler
from torch_utils.cli import Command, counted, option, progress, say

EXAMPLES = """
Examples:
  python generate.py                                     16 pictures of the newest network, in out
  python generate.py --seeds 0-35 --psi 0.7 --grid
  python generate.py --network runs/00000-ffhq-auto/network-000200.0.safetensors --seeds 85,265,297 --format webp
  python generate.py --network ffhq256 --psi 0.7         a published network, downloaded once
  python generate.py --network stylegan2.pt              of rosinality's or lucidrains' program
  python generate.py --seeds 0-35 --psi 0.5 --centers 32 --grid    each towards the nearest of 32 centres of w
  python generate.py --class happy --seeds 0-9 --outdir happy
"""
GRID = "grid.png"


@click.command(cls=Command, epilog=EXAMPLES)
@sampling_options(seeds="0-15", centers=True)
@option("--grid", is_flag=True, group="Output", help=f"also all of them on one picture, {GRID}")
@option(
    "--format", "ending", type=click.Choice(["png", "webp", "jpg"]), default="png", group="Output", help="kind of files"
)
def main(sampler: Sampler, seeds: list[int], grid: bool, ending: str) -> None:
    """Make pictures, seed0000.png and so on: the same seed gives the same picture every time."""
    height, width = sampler.G.config.height, sampler.G.config.width
    if grid and len(seeds) * height * width > LARGEST_SHEET:
        most = LARGEST_SHEET // (height * width)
        raise ValueError(f"--grid takes at most {most} pictures of this size, and --seeds asks for {len(seeds)}")
    tiles = []
    pictures = zip(seeds, sampler.pixels(sampler.ws(seeds), seeds), strict=True)
    for seed, pixels in progress(pictures, len(seeds), "pictures"):
        save_image(to_pil(pixels), sampler.outdir / f"seed{seed:04d}.{ending}")
        tiles += [pixels] if grid else []
    if grid:
        columns = ceil(sqrt(len(seeds) * height / width))  # about as wide as high
        save_image(tile(torch.stack(tiles), min(columns, len(seeds))), sampler.outdir / GRID)
    write_record("generate", sampler)
    files = counted(len(set(seeds)), f"{ending} file") + (f", {GRID}" if grid else "")
    say(f"wrote {files} and generate.json to {sampler.outdir}")


if __name__ == "__main__":
    main()
