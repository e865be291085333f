"""Make films between pictures: through seeds or files of latents, seamless, one film or a grid of them."""

import system.start  # noqa: F401 (first)

from pathlib import Path
from typing import Any

import click
from torch import Tensor

from imaging.film import check_film, check_rate, write_film
from imaging.grid import check_sheet
from models.paths import ease, times
from models.stylegan2.latents import load_latents
from models.stylegan2.sampler import StyleOptions, StyleSampler
from sampling.command import Opened, refuse, sampling_options, write_record
from sampling.stylegan2.interpolation import KINDS, RESAMPLING, cells_in_w, cells_in_z, frames
from sampling.stylegan2.pictures import styles
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
@sampling_options(model=StyleOptions, names=["psi", "centers", "psi_cutoff", "noise_mode"])
@option("--seeds", type=SeedList(), group="Key frames", shown="0-7", help="seeds used as key frames")
@option(
    "--latents",
    metavar="FILES",
    group="Key frames",
    help="instead of seeds: the w of projected-w.npz files, with commas",
)
@option(
    "--space",
    type=click.Choice(["z", "w"]),
    group="Path",
    shown="w; z for spherical",
    help="latent space to interpolate in",
)
@option(
    "--path",
    "kind",
    type=click.Choice(KINDS),
    default="spline",
    group="Path",
    help="spline turns smoothly, linear takes straight lines, spherical (in z) great circles",
)
@option(
    "--frames",
    "between",
    type=click.IntRange(1, 100_000),
    default=60,
    group="Path",
    help="from one key frame to the next",
)
@option(
    "--loop/--no-loop",
    default=True,
    group="Path",
    help="return to the first key frame, so that the film repeats without a seam",
)
@option(
    "--easing",
    type=click.Choice(["none", "smooth"]),
    default="none",
    group="Path",
    help="smooth slows down at key frames",
)
@option("--grid", type=Size(), default="1x1", group="Output", help="films side by side, each with its own key frames")
@option("--scale", type=click.IntRange(1, 16), default=1, group="Output", help="factor by which frames are enlarged")
@option(
    "--resample", type=click.Choice(list(RESAMPLING)), default="lanczos", group="Output", help="how --scale enlarges"
)
@option("--fps", type=Number(), default=30.0, group="Output", help="frames a second; a gif shows at most 50")
@option("--format", "ending", type=click.Choice(FORMATS), default="mp4", group="Output", help="kind of film")
def main(
    opened: Opened, seeds: list[int] | None, latents: str | None, grid: tuple[int, int], fps: float, **options: Any
) -> None:
    """Make a film that leads from picture to picture: interpolation.mp4, or a folder of frames.

    A key frame is the picture that generate.py makes of its seed. The noise is the same in all frames: the
    network's own, or with --noise-mode random that of the film's first seed.
    """
    sampler, kind, loop, scale = styles(opened), options["kind"], options["loop"], options["scale"]
    film = opened.outdir / (NAME if options["ending"] == "frames" else f"{NAME}.{options['ending']}")
    _check_frames(sampler, film, grid, fps, scale)
    space = _space(options["space"], kind, latents)
    if latents is not None:
        seeds, ws = _keys_of_files(sampler, seeds, latents, opened.label)
        _check_count(len(ws), "--latents", grid)
        cells = cells_in_w(ws, seeds, grid, kind, loop)
    else:
        seeds = seeds or list(range(KEYS * grid[0] * grid[1]))
        _check_count(len(seeds), "--seeds", grid)
        requests = opened.requests(seeds)
        if space == "z":
            cells = cells_in_z(sampler, requests, seeds, grid, kind, loop)
        else:
            cells = cells_in_w(sampler.ws(requests), seeds, grid, kind, loop)
    moments = times(len(seeds) // len(cells), options["between"], loop)
    eased = [ease(t) for t in moments] if options["easing"] == "smooth" else moments
    shown = frames(sampler, cells, eased, opened.at_once, grid[1], scale, options["resample"])
    count = write_film(film, progress(shown, len(moments), "frames"), fps)
    resolved = {"seeds": seeds if latents is None else None, "space": space, "grid": f"{grid[1]}x{grid[0]}"}
    write_record("interpolate", opened, resolved, film=film.name, count=count)
    seconds = f"{counted(count, 'frame')}, {count / fps:.1f} s"
    say(f"wrote {film.name} ({seconds}) and interpolate.json to {opened.outdir}")


def _check_frames(sampler: StyleSampler, film: Path, grid: tuple[int, int], fps: float, scale: int) -> None:
    if scale == 1:
        refuse(["resample"], "with --scale 1")
    size = (sampler.shape.height * scale, sampler.shape.width * scale)
    check_sheet(grid[0] * grid[1], size, "--grid and --scale", labeled=False)
    check_film(film, "--format", (size[1] * grid[1], size[0] * grid[0]))
    check_rate(film, "--fps", fps)


def _space(space: str | None, kind: str, latents: str | None) -> str:
    """The space to interpolate in."""
    if kind == "spherical" and (space == "w" or latents):
        where = "--latents are w" if latents else "--space is w"
        raise ValueError(f"--path spherical needs z, but {where}: take --path linear or spline")
    if space == "z" and latents:
        raise ValueError("--space z does not apply to --latents, which are w: leave it out")
    return space or ("z" if kind == "spherical" else "w")


def _keys_of_files(
    sampler: StyleSampler, seeds: list[int] | None, latents: str, label: int | None
) -> tuple[list[int], Tensor]:
    """The numbers of the latents in the files, and their truncated w [K, L, D]."""
    if seeds is not None:
        raise ValueError("--seeds and --latents both give key frames: leave one of them out")
    files = [load_latents(Path(file.strip()), sampler.G) for file in latents.split(",")]
    requests = [request for file in files for request in sampler.fitted(file, label)]
    if sampler.options.noise_mode == "const" and any(file.maps is not None for file in files):
        say("note: the noise fitted to the latents is left out, because a film's noise stays the same")
    return list(range(len(requests))), sampler.ws(requests)


def _check_count(keys: int, flag: str, grid: tuple[int, int]) -> None:
    cells = grid[0] * grid[1]
    if keys % cells:
        raise ValueError(
            f"--grid {grid[1]}x{grid[0]} has {cells} cells, but {flag} gives {counted(keys, 'key frame')}: "
            f"give each cell the same number, such as {cells * max(2, round(keys / cells))} in all"
        )
    if keys < 2 * cells:
        raise ValueError(f"{flag} gives one key frame for each film, but a film needs at least 2")


if __name__ == "__main__":
    main()
