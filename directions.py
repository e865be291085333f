"""Find directions of w that mean something, and move pictures along them."""

from __future__ import annotations

import system.start  # noqa: F401 (first)

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from imaging.film import write_film
from imaging.grid import check_sheet
from models.sampler import Request
from models.stylegan2 import directionfile, finding, latents
from models.stylegan2 import generator as generators
from models.stylegan2.choices import TRUNCATION_AND_NOISE, StyleOptions
from sampling.command import PATH, Opened, check_film_name, given, options, refuse, sampling_options, write_record
from sampling.stylegan2 import attributefile, pictures
from torch_utils.cli import Command, FloatList, counted, progress, say

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
METHODS = "sefa: what changes the styles most; pca: along what w varies most; labels: what tells labeled pictures apart"
LABELS = "CSV or JSON: a column seed (or picture) of pictures of generate.py, and a column for each attribute"
ENDINGS = "also a film, there and back; its name: .mp4, .gif or .webp, without an ending a folder of frames"


@click.command(cls=Command, epilog=EXAMPLES)
@sampling_options(seeds="0-3", model=StyleOptions, names=["latents", *TRUNCATION_AND_NOISE])
@options(
    "Pictures",
    ("--strengths", FloatList(), "-3:3:1", "steps, in standard deviations of w"),
    ("--layers", "LAYERS", None, "coarse, middle, fine or such as 0-6; default: all, or those in the file"),
)
@options(
    "Find directions",
    ("--method", click.Choice(["sefa", "pca", "labels"]), None, METHODS),
    ("--count", click.IntRange(1), 10, "number of directions, for sefa and pca"),
    ("--labels", PATH, None, LABELS),
    ("--orthogonal", bool, False, "remove from each attribute's direction what it shares with the others"),
    ("--samples", click.IntRange(2, 1_000_000), 10_000, "number of seeds whose w show sefa and pca how w varies"),
    ("--across-classes", bool, False, "let directions lead from one class to another as well"),
)
@options(
    "Apply directions",
    ("--apply file", PATH, None, f"{FILE} to move pictures along"),
    ("--direction", "LIST", None, "numbers or names, such as 0,smile; default: all directions"),
    ("--film", str, None, ENDINGS),
    ("--fps", click.FloatRange(1, 120), 30.0, "frames a second of the film"),
    ("--frames frame_count", click.IntRange(2, 100_000), 120, "frames of the film"),
)
def main(opened: Opened, seeds: list[int], **options: Any) -> None:
    """Find directions of w and move pictures along them: w + strength * direction, in the layers that are named.

    --method finds directions and writes them to directions.safetensors, with a sheet for each seed: a row for each
    direction, a column for each strength. --apply takes such a file and writes the moved pictures, seed0000-smile+2.png
    and so on, and with --film a film.
    """
    G = pictures.generator(opened, "directions.py")
    _check_options(opened, options["method"], options["file"])
    if options["layers"] is not None:
        options["layers"] = latents.layer_range(options["layers"], G.config.num_ws, "--layers")
    options["strengths"] = list(dict.fromkeys(options["strengths"]))
    work = _find if options["file"] is None else _apply
    work(opened, G, opened.requests(list(dict.fromkeys(seeds))), options)


def _check_options(opened: Opened, method: str | None, file: Path | None) -> None:
    if method is None and file is None:
        raise ValueError("give --method sefa, pca or labels to find directions, or --apply to move pictures along them")
    if file is not None:
        refuse(FIND, "with --apply, which takes directions as they are in the file")
    else:
        refuse(APPLY, "with --method: find the directions, then --apply their file")
        refuse([name for name, methods in OF_METHODS.items() if method not in methods], f"with --method {method}")
        if method == "labels" and "labels" not in given():
            raise ValueError("--method labels needs --labels, a CSV or JSON of seeds and their attributes")
    if not opened.sampler.shape.classes:
        refuse(["across_classes"], f"because {opened.file.path} has no classes")
    if opened.label is not None:
        refuse(["across_classes"], "with --class, which leaves only one class")
    if "film" not in given():
        refuse(OF_FILM, "without --film")


def _find(opened: Opened, G: generators.Generator, requests: list[Request], options: Mapping[str, Any]) -> None:
    method, count, strengths = options["method"], options["count"], options["strengths"]
    layers = options["layers"] or list(range(G.config.num_ws))
    names, seeds, values = tuple(f"{method}{k}" for k in range(count)), tuple(range(options["samples"])), None
    if options["labels"] is not None:
        names, seeds, values = attributefile.read_attributes(options["labels"])
    check_sheet(len(names) * len(strengths), opened.sampler.shape[:2], f"{len(names)} directions and --strengths")
    w, groups = finding.draw(pictures.styles(opened), opened.requests(list(seeds)), options["across_classes"])
    if values is None:
        vectors, facts = finding.find_unlabeled(G, method, w, groups, count, layers)
    else:
        vectors, facts = finding.find_attributes(w, groups, names, values, options["orthogonal"])
    scales = finding.spread(w, groups, vectors)
    directions = directionfile.Directions(
        names=names,
        vectors=vectors.float(),
        scales=scales.float(),
        layers=(tuple(layers),) * len(names),
        method=method,
        num_ws=G.config.num_ws,
        network=directionfile.fingerprint(G),
    )
    found = [{"name": n, "scale": float(s)} | f for n, s, f in zip(names, scales, facts, strict=True)]
    directionfile.save_directions(opened.outdir / FILE, directions, found=found, network_file=str(opened.file.path))
    sheets = pictures.Walk(opened, requests, directions, list(range(len(names))), layers).write_sheets(
        strengths, singly=False
    )
    write_record("directions", opened, of=FILE, directions=found)
    say(f"wrote {FILE} of {counted(len(found), 'direction')}, {sheets} and {FILE}.json to {opened.outdir}")


def _apply(opened: Opened, G: generators.Generator, requests: list[Request], options: Mapping[str, Any]) -> None:
    film, count, size = options["film"], options["frame_count"], opened.sampler.shape[:2]
    strengths, layers = options["strengths"], options["layers"]
    if film is not None:
        check_film_name(film, opened.outdir)
    directions = directionfile.load_directions(options["file"])
    if warning := directionfile.check_fit(directions, G, options["file"]):
        say(f"note: {warning}")
    chosen = list(range(len(directions)))
    if options["direction"] is not None:
        chosen = directions.find(options["direction"], "--direction")
    check_sheet(len(chosen) * len(strengths), size, f"{len(chosen)} directions and --strengths")
    if film is not None:
        check_sheet(len(chosen) * len(requests), size, f"frames of {len(chosen)} directions and --seeds", labeled=False)
    walk = pictures.Walk(opened, requests, directions, chosen, layers)
    written = walk.write_sheets(strengths, singly=True)
    if film is not None:
        write_film(opened.outdir / film, progress(walk.frames(strengths, count), count, "frames"), options["fps"])
        written += f", {film}"
    moved = [{"name": directions.names[k], "layers": list(layers or directions.layers[k])} for k in chosen]
    write_record("directions", opened, directions=moved)
    say(f"wrote {written} and directions.json to {opened.outdir}")


if __name__ == "__main__":
    main()
