"""Make films between pictures: through seeds or files of latents, seamless, one film or a grid of them."""

import system.start  # noqa: F401 (first)

from pathlib import Path

import click
import torch
from torch import Tensor

from imaging.film import check_film, check_rate, write_film
from imaging.grid import LARGEST_SHEET
from models.paths import ease, times
from models.stylegan2.latentfile import load_latents
from sampling.options import sampling_options, write_record
from sampling.refusals import refuse
from sampling.sampler import Sampler
from sampling.stylegan2.interpolation import KINDS, RESAMPLING, Kind, Space, cells_in_w, cells_in_z, frames
from torch_utils.cli import Command, Number, SeedList, Size, counted, option, progress, say

EXAMPLES = """
Examples:
  python interpolate.py                                                a loop through seeds 0-7
  python interpolate.py --seeds 85,100,75,458 --psi 0.7 --frames 90
  python interpolate.py --grid 3x2 --format gif --fps 25 --frames 25   six loops side by side
  python interpolate.py --seeds 3,8 --path spherical --no-loop --easing smooth
  python interpolate.py --latents a/projected-w.npz,b/projected-w.npz --path linear --no-loop
"""
NAME = "interpolation"  # of the film, or the folder of frames
FORMATS = ["mp4", "gif", "webp", "frames"]
KEYS = 8  # of each cell, without --seeds


@click.command(cls=Command, epilog=EXAMPLES)
@sampling_options(centers=True)
@option("--seeds", type=SeedList(), group="Keys", shown="0-7", help="the film comes by the picture of each")
@option("--latents", metavar="FILES", group="Keys", help="or by the w of projected-w.npz files, joined by commas")
@option("--space", type=click.Choice(["z", "w"]), group="Way", shown="w; z for spherical", help="where the way leads")
@option(
    "--path",
    "kind",
    type=click.Choice(KINDS),
    default="spline",
    group="Way",
    help="spline turns smoothly, linear takes straight lines, spherical (in z) great circles",
)
@option("--frames", "between", type=click.IntRange(1, 100_000), default=60, group="Way", help="from a key to the next")
@option("--loop/--no-loop", default=True, group="Way", help="lead from the last key back to the first, without a seam")
@option("--easing", type=click.Choice(["none", "smooth"]), default="none", group="Way", help="smooth rests at each key")
@option("--grid", type=Size(), default="1x1", group="Output", help="films side by side, each with keys of its own")
@option("--scale", type=click.IntRange(1, 16), default=1, group="Output", help="enlarge so many times")
@option(
    "--resample", type=click.Choice(list(RESAMPLING)), default="lanczos", group="Output", help="how --scale enlarges"
)
@option("--fps", type=Number(), default=30.0, group="Output", help="frames a second; a gif shows at most 50")
@option("--format", "ending", type=click.Choice(FORMATS), default="mp4", group="Output", help="kind of film")
def main(
    sampler: Sampler,
    seeds: list[int] | None,
    latents: str | None,
    space: Space | None,
    kind: Kind,
    between: int,
    loop: bool,
    easing: str,
    grid: tuple[int, int],
    scale: int,
    resample: str,
    fps: float,
    ending: str,
) -> None:
    """Make a film that leads from picture to picture: interpolation.mp4, or a folder of frames.

    The frame at a key is the picture that generate.py makes of its seed. Noise stands still: the network's own, or,
    where it is random, that of the film's first seed.
    """
    film = sampler.outdir / (NAME if ending == "frames" else f"{NAME}.{ending}")
    _check_frames(sampler, film, grid, scale, fps)
    space = _space(space, kind, latents)
    seeds, ws = _keys(sampler, seeds, latents, grid)
    if space == "z":
        cells = cells_in_z(sampler, seeds, grid, kind, loop)
    else:
        cells = cells_in_w(ws, seeds, grid, kind, loop)
    moments = times(len(seeds) // len(cells), between, loop)
    eased = [ease(t) for t in moments] if easing == "smooth" else moments
    shown = frames(sampler, cells, eased, grid[1], scale, resample)
    count = write_film(film, progress(shown, len(moments), "frames"), fps)
    resolved = {"seeds": seeds if latents is None else None, "space": space, "grid": f"{grid[1]}x{grid[0]}"}
    write_record("interpolate", sampler, resolved, film=film.name, count=count)
    seconds = f"{counted(count, 'frame')}, {count / fps:.1f} s"
    say(f"wrote {film.name} ({seconds}) and interpolate.json to {sampler.outdir}")


def _check_frames(sampler: Sampler, film: Path, grid: tuple[int, int], scale: int, fps: float) -> None:
    if scale == 1:
        refuse(["resample"], "where --scale enlarges nothing")
    height, width = (cells * side * scale for cells, side in zip(grid, _size(sampler), strict=True))
    if height * width > LARGEST_SHEET:
        raise ValueError(
            f"--grid {grid[1]}x{grid[0]} and --scale {scale} make frames of {width}x{height} pixels, which hardly any "
            f"program can open: take fewer cells or a smaller scale"
        )
    check_film(film, "--format", (width, height))
    check_rate(film, "--fps", fps)


def _space(space: Space | None, kind: Kind, latents: str | None) -> Space:
    """The space that the way leads through."""
    if kind == "spherical" and (space == "w" or latents):
        where = "--latents are w" if latents else "--space w is not z"
        raise ValueError(
            f"--path spherical is for z, whose vectors are known by their direction, and {where}: "
            f"take --path linear or spline"
        )
    if space == "z" and latents:
        raise ValueError("--space z does not apply, for --latents are w: leave it out")
    return space or ("z" if kind == "spherical" else "w")


def _keys(
    sampler: Sampler, seeds: list[int] | None, latents: str | None, grid: tuple[int, int]
) -> tuple[list[int], Tensor]:
    """The keys' seeds, of latents their numbers, and their w [K, L, D], truncated."""
    cells = grid[0] * grid[1]
    if latents is None:
        seeds = list(range(KEYS * cells)) if seeds is None else seeds
        _check_count(len(seeds), "--seeds", grid)
        return seeds, torch.stack(list(sampler.ws(seeds)))
    if seeds is not None:
        raise ValueError("--seeds and --latents both say what the film comes by: leave one of them out")
    sampler.check_latents()
    files = [load_latents(Path(file.strip()), sampler.G) for file in latents.split(",")]
    ws = torch.cat([file.ws for file in files])
    _check_count(len(ws), "--latents", grid)
    if sampler.noise_mode == "const" and any(file.maps is not None for file in files):
        say("note: the noise that was fitted to the latents is left out, for a film's noise stands still")
    return list(range(len(ws))), sampler.latent_ws(ws)


def _check_count(keys: int, flag: str, grid: tuple[int, int]) -> None:
    cells = grid[0] * grid[1]
    if keys % cells:
        raise ValueError(
            f"--grid {grid[1]}x{grid[0]} has {cells} cells, and {flag} gives {counted(keys, 'key')}: "
            f"give as many to each cell, such as {cells * max(2, round(keys / cells))} in all"
        )
    if keys < 2 * cells:
        raise ValueError(f"{flag} gives one key for each film, and a film leads from one to another: give at least 2")


def _size(sampler: Sampler) -> tuple[int, int]:
    return sampler.G.config.height, sampler.G.config.width


if __name__ == "__main__":
    main()
