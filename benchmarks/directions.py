"""Which drawn factors the directions of a network of the demo set move, by the observer that sees them in pictures.

`python -m benchmarks.directions --network assets/faces64.safetensors`
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks.drift import Moved, Scene, best_layers, layers_of, look_at_samples, measure, ranges
from benchmarks.observer import cause_names, train
from benchmarks.quality import common_size
from models.families import read_network
from models.stylegan2.attributes import apart, held_out_skill, logistic, ridge
from models.stylegan2.directions import Directions, fingerprint, save_directions
from models.stylegan2.factorization import principal_components, sefa, spread, style_matrix
from models.stylegan2.generator import Generator
from system.files import replacing
from torch_utils.cli import Command, option, progress, say
from torch_utils.device import resolve_device, set_precision

EXAMPLES = """
Examples:
  python -m benchmarks.directions --network assets/faces64.safetensors
  python -m benchmarks.directions --network assets/faces64.safetensors --outdir out --json
"""
# The factors that get a direction, by their names in tables, and the observer's number that says how far they go.
TARGETS = {
    "turn": "turn",
    "tilt": "tilt",
    "shift": "shift",
    "head width": "head_width",
    "parting": "parting",
    "no glasses": "glasses none",
    "curly hair": "hair_style curly",
    "skin": "skin",
    "hair color": "hair_colour",
}
CHOICES = ("glasses", "hair_style")  # labels of these are yes or no


@click.command(cls=Command, epilog=EXAMPLES)
@option(
    "--network",
    type=click.Path(path_type=Path),
    required=True,
    group="Input",
    help="A network trained on the demo set.",
)
@option(
    "--count",
    type=click.IntRange(min=100),
    default=2000,
    group="Input",
    help="Labelled samples: seeds 0 ... count - 1.",
)
@option("--held-out", type=click.IntRange(min=10), default=100, group="Input", help="Seeds after those, to judge on.")
@option("--first", type=click.IntRange(min=1), default=5, group="Input", help="Directions of SeFa and PCA to look at.")
@option("--strength", type=click.FloatRange(0, 10, min_open=True), default=3.0, group="Input", help="Steps, -s and s.")
@option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", group="Machine", help="Where.")
@option("--outdir", type=click.Path(path_type=Path), group="Output", help="For labels.csv and directions.safetensors.")
@option("--json", "as_json", is_flag=True, group="Output", help="Print JSON instead of tables.")
def main(
    network: Path,
    count: int,
    held_out: int,
    first: int,
    strength: float,
    device: str,
    outdir: Path | None,
    as_json: bool,
) -> None:
    """Find directions in a network of the demo set and measure what they move.

    An observer that learnt to see the factors of drawn faces labels the samples. Directions are fitted to its answers,
    their layers chosen on a part of the held-out seeds, and what they move is measured on the others.
    """
    set_precision("fp32")
    place = resolve_device(device)
    file = read_network(network)
    height, width = common_size([file])
    G = file.part("G_ema").to(place)
    assert isinstance(G, Generator)
    observer = train(height, width, place)
    scene = look_at_samples(G, observer, count + held_out, height, width, strength)
    choosing = range(count, count + held_out // 3)
    judging = range(choosing.stop, count + held_out)
    directions, rows = attributes(scene, count, choosing, judging)
    orthogonal = freed(scene, directions, rows, count, judging)
    unlabelled = [row for method in ("sefa", "pca") for row in unnamed(scene, method, count, first, judging)]
    if outdir is not None:
        save_directions(outdir / "directions.safetensors", directions)
        _write_labels(outdir / "labels.csv", scene, count)
    found = {
        "network": str(network),
        "count": count,
        "judged": len(judging),
        "strength": strength,
        "factors": [name for name, visible in zip(cause_names(), scene.visible.tolist(), strict=True) if visible],
        "labels": [asdict(row) for row in rows],
        "orthogonal": [asdict(row) for row in orthogonal],
        "unlabelled": [asdict(row) for row in unlabelled],
    }
    say(json.dumps(found) if as_json else table(found))


def attributes(scene: Scene, count: int, choosing: range, judging: range) -> tuple[Directions, list[Moved]]:
    """A direction for each target, fitted to the first `count` samples, with the layers that suit it best."""
    w, groups = scene.ws[:count, 0].cpu().double(), scene.groups[:count]
    vectors, words, rows = [], [], []
    for name, cause in progress(TARGETS.items(), len(TARGETS), "directions"):
        k = cause_names().index(cause)
        values = labels(scene, cause)[:count].double()
        fit = logistic if cause.startswith(CHOICES) else ridge
        n = fit(w, values, groups)
        step = n.float() * spread(w, groups, n[None]).float()
        trials = {word: measure(scene, name, k, step, word, choosing) for word in ranges(scene.G)}
        word = best_layers(trials)
        rows.append(measure(scene, name, k, step, word, judging, held_out_skill(fit, w, values, groups)))
        vectors.append(n)
        words.append(word)
    directions = Directions(
        names=tuple(TARGETS),
        vectors=torch.stack(vectors).float(),
        scales=spread(w, groups, torch.stack(vectors)).float(),
        layers=tuple(tuple(layers_of(word, scene.G)) for word in words),
        method="labels",
        num_ws=scene.G.config.num_ws,
        network=fingerprint(scene.G),
    )
    return directions, rows


def freed(scene: Scene, directions: Directions, rows: list[Moved], count: int, judging: range) -> list[Moved]:
    """The same directions, each without what it shares with the others, as `directions.py --orthogonal` makes them."""
    vectors = apart(directions.vectors)
    scales = spread(scene.ws[:count, 0].cpu().double(), scene.groups[:count], vectors)
    steps = (vectors * scales[:, None]).float()
    causes = [cause_names().index(cause) for cause in TARGETS.values()]
    return [measure(scene, r.name, k, n, r.layers, judging) for r, k, n in zip(rows, causes, steps, strict=True)]


def labels(scene: Scene, cause: str) -> Tensor:
    """What the observer says of a target in every picture [N]: a number, or 0 and 1 for a choice."""
    values = scene.seen.causes[:, cause_names().index(cause)]
    return (values > 0.5).float() if cause.startswith(CHOICES) else values


def unnamed(scene: Scene, method: str, count: int, first: int, judging: range) -> Iterator[Moved]:
    """The first directions of SeFa or PCA in all layers, and the factors that they move most."""
    w, groups = scene.ws[:count, 0].cpu().double(), scene.groups[:count]
    if method == "sefa":
        vectors = sefa(style_matrix(scene.G, range(scene.G.config.num_ws)), first)
    else:
        vectors = principal_components(w, groups, first)
    for number, (n, scale) in enumerate(zip(vectors, spread(w, groups, vectors), strict=True)):
        yield measure(scene, f"{method}{number}", None, (n * scale).float(), "all", judging)


def _write_labels(path: Path, scene: Scene, count: int) -> None:
    """The observer's answers as `directions.py --labels` takes them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["seed", *TARGETS])
    columns = [labels(scene, cause)[:count].tolist() for cause in TARGETS.values()]
    writer.writerows(
        [seed, *(f"{value:.4g}" for value in row)] for seed, *row in zip(range(count), *columns, strict=True)
    )
    with replacing(path) as file:
        file.write_text(text.getvalue(), encoding="utf-8")


def table(found: dict[str, Any]) -> str:
    """The findings as Markdown."""
    s = found["strength"]
    lines = [
        f"{found['count']} labelled samples, {found['judged']} held-out ones; strengths {-s:g} and {s:g}; changes in "
        "standard deviations of the factor",
        "",
        f"| direction | layers | held-out r | factor at {-s:g}, 0, {s:g} | change | drift of the others "
        "| most of them | expression kept |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found["labels"]:
        values = ", ".join(f"{value:.2f}" for value in row["values"])
        lines.append(
            f"| {row['name']} | {row['layers']} | {row['skill']:.2f} | {values} | {row['change']:.2f} | "
            f"{row['drift']:.2f} | {_spelled(row['most'], 1)} | {row['kept']:.0%} |"
        )
    lines += [
        "",
        "| orthogonal | change | drift of the others | most of them | expression kept |",
        "|---|---|---|---|---|",
    ]
    for row in found["orthogonal"]:
        most = _spelled(row["most"], 1)
        lines.append(f"| {row['name']} | {row['change']:.2f} | {row['drift']:.2f} | {most} | {row['kept']:.0%} |")
    lines += ["", "| without labels | moves most | mean of all | expression kept |", "|---|---|---|---|"]
    for row in found["unlabelled"]:
        lines.append(f"| {row['name']} | {_spelled(row['most'], 3)} | {row['drift']:.2f} | {row['kept']:.0%} |")
    return "\n".join(lines)


def _spelled(most: dict[str, float], count: int) -> str:
    return ", ".join(f"{name} {change:+.2f}" for name, change in list(most.items())[:count])


if __name__ == "__main__":
    main()
