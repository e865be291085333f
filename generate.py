"""Make pictures: one for each seed, or for each latent of a file."""

import system.start  # noqa: F401 (first)

from math import ceil, isqrt, sqrt

import click
import torch

from imaging.grid import GRID, LARGEST_SHEET, save_image, tile
from imaging.pixels import to_pil
from models.stylegan2.latentfile import Latents
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
  python generate.py --latents out/projected-w.npz       pictures of the latents that project.py found
"""


@click.command(cls=Command, epilog=EXAMPLES)
@sampling_options(seeds="0-15", centers=True, latents=True)
@option("--grid", is_flag=True, group="Output", help=f"also all of them on one picture, {GRID}")
@option(
    "--format", "ending", type=click.Choice(["png", "webp", "jpg"]), default="png", group="Output", help="kind of files"
)
def main(sampler: Sampler, seeds: list[int], latents: Latents | None, grid: bool, ending: str) -> None:
    """Make pictures, seed0000.png and so on: the same seed gives the same picture every time.

    Of a file of latents they are latent0000.png and so on, with --psi truncated as seeds are.
    """
    if latents is None:
        names, made = [f"seed{seed:04d}" for seed in seeds], sampler.pixels(sampler.ws(seeds), seeds)
    else:
        names, made = [f"latent{n:04d}" for n in range(len(latents.ws))], sampler.latent_pixels(latents)
    height, width = sampler.G.config.height, sampler.G.config.width
    if grid and len(names) * height * width > LARGEST_SHEET:
        most, flag = LARGEST_SHEET // (height * width), "--latents" if latents else "--seeds"
        raise ValueError(f"--grid takes at most {most} pictures of this size, and {flag} asks for {len(names)}")
    tiles = []
    for name, pixels in progress(zip(names, made, strict=True), len(names), "pictures"):
        save_image(to_pil(pixels), sampler.outdir / f"{name}.{ending}")
        tiles += [pixels] if grid else []
    if grid:
        columns = _columns(len(names), height, width)
        save_image(tile(torch.stack(tiles), columns, enlarged=True), sampler.outdir / GRID)
    write_record("generate", sampler)
    files = counted(len(set(names)), f"{ending} file") + (f", {GRID}" if grid else "")
    say(f"wrote {files} and generate.json to {sampler.outdir}")


def _columns(count: int, height: int, width: int) -> int:
    """Of a sheet that is about as wide as high, and up to twice as wide where all its rows are full then."""
    squares = count * height / width
    least = min(ceil(sqrt(squares)), count)
    return next((columns for columns in range(least, isqrt(int(2 * squares)) + 1) if count % columns == 0), least)


if __name__ == "__main__":
    main()
