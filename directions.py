"""Find directions of w that mean something, and move pictures along them."""

import system.start  # noqa: F401 (first)

from pathlib import Path
from typing import Any

import click

from imaging.film import write_film
from models.stylegan2.directions import Directions, check_fit, load_directions, save_directions
from models.stylegan2.latentfile import Latents
from models.stylegan2.latents import layer_range
from sampling.options import sampling_options, write_record
from sampling.refusals import check_film_name, given, refuse
from sampling.sampler import Sampler
from sampling.stylegan2.attributefile import read_attributes
from sampling.stylegan2.finding import draw_samples, find_attributes, find_components, find_sefa
from sampling.stylegan2.steps import (
    Walk,
    check_frames,
    check_sheet,
    frames,
    starts_of_latents,
    starts_of_seeds,
    write_sheets,
)
from torch_utils.cli import Command, FloatList, counted, option, progress, say

EXAMPLES = """
Examples:
  python directions.py --method sefa                     the ten strongest, on sheets of four seeds
  python directions.py --method pca --count 5 --layers middle
  python directions.py --method labels --labels labels.csv --orthogonal
  python directions.py --apply out/directions.safetensors --direction 0,3 --strengths -3:3:1 --layers 0-6
  python directions.py --apply out/directions.safetensors --direction smile --seeds 7 --film smile.mp4
  python directions.py --apply out/directions.safetensors --direction smile --latents out/projected-w.npz
"""
FILE = "directions.safetensors"
FIND = ("method", "count", "labels", "orthogonal", "samples", "across_classes")
APPLY = ("file", "direction", "latents", "film", "fps", "frame_count")
OF_METHODS = {"count": ("sefa", "pca"), "samples": ("sefa", "pca"), "labels": ("labels",), "orthogonal": ("labels",)}
OF_FILM = ("fps", "frame_count")


@click.command(cls=Command, epilog=EXAMPLES)
@sampling_options(seeds="0-3", latents=True)
@option("--strengths", type=FloatList(), default="-3:3:1", group="Pictures", help="steps, in standard deviations of w")
@option(
    "--layers",
    metavar="LAYERS",
    group="Pictures",
    help="that move: coarse, middle, fine or numbers such as 0-6; without it all, or those that the file names",
)
@option(
    "--method",
    type=click.Choice(["sefa", "pca", "labels"]),
    group="Find directions",
    help="sefa: what changes the styles most; pca: along what w varies most; labels: what tells labelled ones apart",
)
@option(
    "--count", type=click.IntRange(1), default=10, group="Find directions", help="how many directions sefa and pca find"
)
@option(
    "--labels",
    type=click.Path(path_type=Path),
    group="Find directions",
    help="CSV or JSON: a column seed (or picture) of what generate.py made, and a column for each attribute",
)
@option(
    "--orthogonal",
    is_flag=True,
    group="Find directions",
    help="take from each attribute's direction what it shares with the others",
)
@option(
    "--samples",
    type=click.IntRange(2, 1_000_000),
    default=10_000,
    group="Find directions",
    help="w of so many seeds tell sefa and pca how w varies",
)
@option(
    "--across-classes",
    is_flag=True,
    group="Find directions",
    help="let directions lead from one class to another as well",
)
@option(
    "--apply", "file", type=click.Path(path_type=Path), group="Apply directions", help=f"{FILE} to move pictures along"
)
@option(
    "--direction",
    metavar="LIST",
    group="Apply directions",
    help="which of them: numbers or names, such as 0,smile; without it all",
)
@option(
    "--film",
    group="Apply directions",
    help="also a film, there and back; its name: .mp4, .gif or .webp, without an ending a folder of frames",
)
@option(
    "--fps", type=click.FloatRange(1, 120), default=30.0, group="Apply directions", help="pictures a second of the film"
)
@option(
    "--frames",
    "frame_count",
    type=click.IntRange(2, 100_000),
    default=120,
    group="Apply directions",
    help="pictures of the film",
)
def main(
    sampler: Sampler,
    seeds: list[int],
    strengths: list[float],
    layers: str | None,
    method: str | None,
    file: Path | None,
    **options: Any,
) -> None:
    """Find directions of w and move pictures along them: w + strength * direction, in the layers that are named.

    --method finds directions and writes them to directions.safetensors, with a sheet for each seed: a row for each
    direction, a column for each strength. --apply takes such a file and writes the pictures too, seed0000-smile+2.png
    and so on, and a film if asked.
    """
    _check_options(sampler, method, file)
    chosen = _layers(layers, sampler.G.config.num_ws)
    strengths = list(dict.fromkeys(strengths))
    if file is None:
        _find(sampler, seeds, strengths, chosen, str(method), **options)
    else:
        _apply(sampler, seeds, strengths, chosen, file, **options)


def _check_options(sampler: Sampler, method: str | None, file: Path | None) -> None:
    """Refuses options that do not apply."""
    if method is None and file is None:
        raise ValueError("say what to do: --method sefa, pca or labels finds directions, --apply moves pictures along")
    if file is not None:
        refuse(FIND, "with --apply, which takes directions as they are in the file")
    else:
        refuse(APPLY, "with --method: find the directions, then --apply their file")
        refuse([name for name, methods in OF_METHODS.items() if method not in methods], f"with --method {method}")
        if method == "labels" and "labels" not in given():
            raise ValueError("--method labels needs --labels, a CSV or JSON of seeds and their attributes")
    if not sampler.G.config.classes:
        refuse(["across_classes"], f"for {sampler.path} has no classes")
    if sampler.label is not None:
        refuse(["across_classes"], "with --class, as there is but one then")
    if "film" not in given():
        refuse(OF_FILM, "without --film")


def _layers(text: str | None, num_ws: int) -> list[int] | None:
    try:
        return None if text is None else layer_range(text, num_ws)
    except ValueError as error:
        raise ValueError(f"--layers: {error}") from error


def _find(
    sampler: Sampler,
    seeds: list[int],
    strengths: list[float],
    layers: list[int] | None,
    method: str,
    count: int,
    labels: Path | None,
    orthogonal: bool,
    samples: int,
    across_classes: bool,
    **_: Any,
) -> None:
    layers = list(range(sampler.G.config.num_ws)) if layers is None else layers
    if labels is not None:
        attributes = read_attributes(labels)
        check_sheet(sampler, len(attributes.names), len(strengths))
        drawn = draw_samples(sampler, attributes.seeds, across_classes)
        found = find_attributes(sampler, drawn, attributes, layers, orthogonal)
    else:
        check_sheet(sampler, count, len(strengths))
        drawn = draw_samples(sampler, range(samples), across_classes)
        found = (find_sefa if method == "sefa" else find_components)(sampler, drawn, count, layers)
    save_directions(sampler.outdir / FILE, found.directions, found=found.facts, network_file=str(sampler.path))
    walk = Walk(found.directions, range(len(found.directions)))
    sheets = write_sheets(sampler, walk, starts_of_seeds(sampler, seeds), strengths, singly=False)
    write_record("directions", sampler, of=FILE, directions=found.facts)
    say(f"wrote {FILE} of {counted(len(found.facts), 'direction')}, {sheets} and {FILE}.json to {sampler.outdir}")


def _apply(
    sampler: Sampler,
    seeds: list[int],
    strengths: list[float],
    layers: list[int] | None,
    file: Path,
    direction: str | None,
    latents: Latents | None,
    film: str | None,
    fps: float,
    frame_count: int,
    **_: Any,
) -> None:
    if film is not None:
        check_film_name(film, sampler.outdir)
    directions = load_directions(file)
    warning = check_fit(directions, sampler.stylegan2("directions.py"), file)
    if warning:
        say(f"note: {warning}")
    walk = Walk(directions, _chosen(directions, direction), layers)
    check_sheet(sampler, len(walk.chosen), len(strengths))
    starts = starts_of_seeds(sampler, seeds) if latents is None else starts_of_latents(sampler, latents)
    if film is not None:
        check_frames(sampler, len(walk.chosen), len(starts))
    written = write_sheets(sampler, walk, starts, strengths, singly=True)
    if film is not None:
        made = frames(sampler, walk, starts, strengths, frame_count)
        write_film(sampler.outdir / film, progress(made, frame_count, "frames"), fps)
        written += f", {film}"
    moved = [{"name": directions.names[k], "layers": list(layers or directions.layers[k])} for k in walk.chosen]
    write_record("directions", sampler, directions=moved)
    say(f"wrote {written} and directions.json to {sampler.outdir}")


def _chosen(directions: Directions, text: str | None) -> list[int]:
    try:
        return list(range(len(directions))) if text is None else directions.find(text)
    except ValueError as error:
        raise ValueError(f"--direction: {error}") from error


if __name__ == "__main__":
    main()
