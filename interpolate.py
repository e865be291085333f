"""Make films between pictures: through seeds or files of latents, seamless, one film or a grid of them."""

from __future__ import annotations

import system.start  # noqa: F401 (first)

from functools import partial
from pathlib import Path
from typing import Any

import click
from PIL import Image

from imaging.film import check_film, check_rate, write_film
from imaging.grid import check_sheet
from models import paths as ways
from models.sampler import Request, SeedStream, Walkable
from models.stylegan2 import latents as latentfile
from models.stylegan2 import sampler as stylesampler
from sampling import films
from sampling.command import Opened, learn, options, refuse, sampling_options, write_record
from sampling.stylegan2 import pictures
from torch_utils.cli import Command, Number, SeedList, Size, counted, progress, say

EXAMPLES = """
Examples:
  python interpolate.py                                                a loop through seeds 0-7
  python interpolate.py --seeds 85,100,75,458 --psi 0.7 --frames 90
  python interpolate.py --grid 3x2 --format gif --fps 25 --frames 25   six loops side by side
  python interpolate.py --seeds 3,8 --path spherical --no-loop --easing smooth
  python interpolate.py --latents a/projected-w.npz,b/projected-w.npz --path linear --no-loop
  python interpolate.py --network dit.safetensors --seeds 0-7 --class happy
"""
NAME = "interpolation"  # of the film, or the folder of frames
FORMATS = ["mp4", "gif", "webp", "frames"]
KEYS = 8  # of each cell, without --seeds


@click.command(cls=Command, more=partial(learn, seeds=False), epilog=EXAMPLES)
@sampling_options()
@options(
    "Key frames",
    ("--seeds", SeedList(), None, "seeds used as key frames", {"shown": "0-7"}),
    ("--latents files", "FILES", None, "instead of seeds: the w of projected-w.npz files, with commas"),
)
@options(
    "Path",
    ("--space", click.Choice(["z", "w"]), None, "latent space to interpolate in", {"shown": "w; z for spherical"}),
    (
        "--path kind",
        click.Choice(list(films.PATHS)),
        None,
        "smooth curves, straight lines, or great circles in z; without styles always great circles",
        {"shown": "spline"},
    ),
    ("--frames between", click.IntRange(1, 100_000), 60, "from one key frame to the next"),
    ("--loop/--no-loop", bool, True, "return to the first key frame, so that the film repeats without a seam"),
    ("--easing", click.Choice(["none", "smooth"]), "none", "smooth slows down at key frames"),
)
@options(
    "Output",
    ("--grid", Size(), "1x1", "films side by side, each with its own key frames"),
    ("--scale", click.IntRange(1, 16), 1, "factor by which frames are enlarged"),
    ("--resample", click.Choice(["nearest", "lanczos"]), "lanczos", "how --scale enlarges"),
    ("--fps", Number(), 30.0, "frames a second; a gif shows at most 50"),
    ("--format ending", click.Choice(FORMATS), "mp4", "kind of film"),
)
def main(
    opened: Opened, seeds: list[int] | None, files: str | None, grid: tuple[int, int], fps: float, **options: Any
) -> None:
    """Make a film that leads from picture to picture: interpolation.mp4, or a folder of frames.

    A key frame is the picture that generate.py makes of its seed. The noise is the same in all frames: the
    network's own, or with --noise-mode random that of the film's first seed.

    Networks with styles are walked through in w or z. In a denoising network the first noise changes, on great circles,
    and the class halfway between two key frames.
    """
    sampler, loop, scale = films.walkable(opened), options["loop"], options["scale"]
    if not (styled := isinstance(sampler, stylesampler.StyleSampler)):
        title = opened.file.family.title
        refuse(["space", "files", "kind"], f"to {title}, whose films follow great circles of the first noise")
    kind = options["kind"] or ("spline" if styled else "spherical")
    film = opened.outdir / (NAME if options["ending"] == "frames" else f"{NAME}.{options['ending']}")
    size = (sampler.shape.height * scale, sampler.shape.width * scale)
    if scale == 1:
        refuse(["resample"], "with --scale 1")
    check_sheet(grid[0] * grid[1], size, "--grid and --scale", labeled=False)
    check_film(film, "--format", (size[1] * grid[1], size[0] * grid[0]))
    check_rate(film, "--fps", fps)
    space = options["space"] or ("z" if kind == "spherical" else "w")
    if kind == "spherical" and (space == "w" or files):
        where = "--latents are w" if files else "--space is w"
        raise ValueError(f"--path spherical needs z, but {where}: take --path linear or spline")
    if space == "z" and files:
        raise ValueError("--space z does not apply to --latents, which are w: leave it out")
    cells = grid[0] * grid[1]
    if isinstance(sampler, stylesampler.StyleSampler) and files is not None:
        requests = _keys_of_files(sampler, seeds, files, opened.label)
        seeds = list(range(len(requests)))
    else:
        seeds = seeds or list(range(KEYS * cells))
        requests = opened.requests(seeds)
    _check_count(len(requests), "--seeds" if files is None else "--latents", grid)
    each = len(seeds) // cells
    moments = ways.times(each, options["between"], loop)
    eased = [ways.ease(t) for t in moments] if options["easing"] == "smooth" else moments
    keys = [requests[n : n + each] for n in range(0, len(requests), each)]
    paths = _paths(sampler, keys, space, kind, loop)
    places = list(zip(keys, map(SeedStream, seeds[::each]), strict=True))
    shown = (films.on_the_way(part, stream, t) for t in eased for part, stream in places)
    made = films.draw_frames(opened, (path(t) for t in eased for path in paths), shown, cells, grid[1])
    method = Image.Resampling[options["resample"].upper()]
    large = (f.resize((size[1] * grid[1], size[0] * grid[0]), method) if scale > 1 else f for f in made)
    count = write_film(film, progress(large, len(moments), "frames"), fps)
    resolved = {"space": space, "path": kind, "grid": f"{grid[1]}x{grid[0]}", "seeds": None if files else seeds}
    write_record("interpolate", opened, resolved, film=film.name, count=count)
    seconds = f"{counted(count, 'frame')}, {count / fps:.1f} s"
    say(f"wrote {film.name} ({seconds}) and interpolate.json to {opened.outdir}")


def _keys_of_files(
    sampler: stylesampler.StyleSampler, seeds: list[int] | None, latents: str, label: int | None
) -> list[Request]:
    if seeds is not None:
        raise ValueError("--seeds and --latents both give key frames: leave one of them out")
    files = [latentfile.load_latents(Path(file.strip()), sampler.G) for file in latents.split(",")]
    if sampler.options.noise_mode == "const" and any(file.maps is not None for file in files):
        say("note: the noise fitted to the latents is left out, because a film's noise stays the same")
    return [request for file in files for request in sampler.fitted(file, label)]


def _paths(sampler: Walkable, keys: list[list[Request]], space: str, kind: str, loop: bool) -> list[ways.Path]:
    """The path of each cell through its key frames."""
    if isinstance(sampler, stylesampler.StyleSampler):
        return [pictures.style_path(sampler, part, space, kind, loop) for part in keys]
    if any(len({request.label for request in part}) > 1 for part in keys):
        say("note: the class changes at once, halfway between key frames: --class keeps one class")
    return [films.great_circles(sampler, part, loop) for part in keys]


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
