"""How good a network of the demo set is, judged by an observer that recognizes what faces were drawn from."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks.stylegan2.observer import CAUSES, Look, Observer, draw, look, train, variance_seen
from imaging.cartoon import EXPRESSIONS
from imaging.sizes import spell
from metrics.distances import frechet_distance, gaussian, precision_recall
from metrics.sliced_wasserstein import sliced_wasserstein
from models.families import NetworkFile, open_sampler, read_network
from models.sampler import Options, Sampler, Shape
from sampling.command import DEVICE
from system.files import replacing
from torch_utils.cli import Command, option, progress, say
from torch_utils.config import build, parse_set
from torch_utils.device import resolve_device, set_precision

NETWORKS = "a network trained on the demo set; give the option again for more of the same size"
SETS = "an option of the networks' pictures, such as cfg_scale=2; StyleGAN2: psi 1 and constant noise without it"
COUNT = "samples: seeds 0 ... count - 1"
LABELS_FILE = "file for the observer's answers on the first network's samples, for directions.py --labels"
EXAMPLES = """
Examples:
  python -m benchmarks.stylegan2.quality --network runs/00000-demo32-demo/network-000012.0.safetensors
  python -m benchmarks.stylegan2.quality --network a.safetensors --network b.safetensors --count 5000 --json
  python -m benchmarks.stylegan2.quality --network a.safetensors --count 2000 --labels out/labels.csv
  python -m benchmarks.stylegan2.quality --network dit.safetensors --set cfg_scale=2 --set steps=25
"""
HELD_OUT, OTHER = 2, 3  # worlds of drawn faces that neither the observer nor train.py learns from
BATCH = 16
# The columns of --labels, and the observer's answers in them. Answers of choices are 0 or 1.
SPELLED = {"glasses none": "no glasses", "hair_style curly": "curly hair"}
ANSWERS = ["turn", "tilt", "shift", "head_width", "parting", "glasses none", "hair_style curly", "skin", "hair_color"]
LABELS = {SPELLED.get(answer, answer.replace("_", " ")): answer for answer in ANSWERS}
CHOICES = ("glasses", "hair_style")


@click.command(cls=Command, epilog=EXAMPLES)
@option("--network", type=click.Path(path_type=Path), multiple=True, required=True, group="Input", help=NETWORKS)
@option("--set", "sets", multiple=True, metavar="NAME=VALUE", group="Input", help=SETS)
@option("--count", type=click.IntRange(min=10), default=1000, group="Input", help=COUNT)
@DEVICE
@option("--json", "as_json", is_flag=True, group="Output", help="print JSON instead of a table")
@option("--labels", type=click.Path(path_type=Path), group="Output", help=LABELS_FILE)
def main(
    network: tuple[Path, ...], sets: tuple[str, ...], count: int, device: str, as_json: bool, labels: Path | None
) -> None:
    """Judge networks of the demo set by pictures whose every cause is known.

    A small network learns to recognize the expression of drawn faces, and what else they were drawn from. Then it looks
    at samples of seeds, with classes in turn: do they show the expression that was asked for, and how do their features
    compare with those of drawn faces that nothing has learned from?
    """
    set_precision("fp32")
    place = resolve_device(device)
    files = [read_network(path) for path in network]
    samplers = [open_sampler(file, chosen(file, sets), place) for file in files]
    height, width = common_size([sampler.shape for sampler in samplers])
    observer = train(height, width, place)
    looks = []
    for file, sampler in zip(files, samplers, strict=True):
        looks.append(look(observer, progress(samples(sampler, count), -(-count // BATCH), file.path.name)))
    if labels is not None:
        write_labels(labels, looks[0])
    found = judge(observer, files, samplers, looks)
    say(json.dumps(found) if as_json else table(found))


def chosen(file: NetworkFile, sets: Sequence[str]) -> Options:
    """The options of a network's pictures, of its family's usual ones and `--set`."""
    return build(file.family.options, parse_set(file.family.options, sets))


def common_size(shapes: Sequence[Shape]) -> tuple[int, int]:
    """(height, width) of networks' pictures, or ValueError if one is of another data set, or the sizes differ."""
    kinds = sorted({f"{spell(*each[:2])} with {each.channels} channels in {each.classes} classes" for each in shapes})
    unfit = any(each.channels != 3 or each.classes not in (0, len(EXPRESSIONS)) for each in shapes)
    if unfit or len({each[:2] for each in shapes}) > 1:
        raise ValueError(
            f"the networks make images of {' and '.join(kinds)}: give networks of one size that were trained on the "
            f"demo set, which has 3 channels in {len(EXPRESSIONS)} classes"
        )
    return shapes[0].height, shapes[0].width


def samples(sampler: Sampler, count: int) -> Iterator[Tensor]:
    """Pixels uint8 [n, 3, H, W] of seeds 0 ... count - 1, with classes in turn."""
    for seeds in torch.arange(count).split(BATCH):
        requests = sampler.requests(seeds.tolist(), None)
        yield torch.stack(list(sampler.sample(requests, len(requests))))


def judge(
    observer: Observer, files: list[NetworkFile], samplers: Sequence[Sampler], looks: list[Look]
) -> dict[str, Any]:
    """The observer's accuracy, drawn faces as the best possible result, and each network."""
    count, (height, width) = len(looks[0].expressions), samplers[0].shape[:2]
    held_out, other = (draw(world, count, height, width) for world in (HELD_OUT, OTHER))
    reference, drawn = (look(observer, faces.pixels.split(BATCH)) for faces in (held_out, other))
    rows = [{"name": "drawn faces", "kimg": None} | quality(drawn, other.expressions, reference)]
    for file, sampler, made in zip(files, samplers, looks, strict=True):
        asked = torch.arange(count) % len(EXPRESSIONS) if sampler.requests([0], None)[0].label is not None else None
        name = "/".join(file.path.parts[-2:])  # with the folder, as networks of two runs may have the same name
        rows.append({"name": name, "kimg": file.metadata.get("kimg")} | quality(made, asked, reference))
    return {
        "size": spell(height, width),
        "count": count,
        "observer_accuracy": _share(reference.expressions == held_out.expressions),
        "observer_variance": variance_seen(held_out.causes, reference.causes),
        "results": rows,
    }


def quality(made: Look, asked: Tensor | None, reference: Look) -> dict[str, Any]:
    """The observer's verdict on pictures, with the classes that were asked for [N], compared with drawn faces.

    Shares are in 0..1. Without classes `asked` is None.
    """
    precision, recall = precision_recall(reference.features, made.features)
    right = None if asked is None else made.expressions == asked
    return {
        "agreement": None if right is None else _share(right),  # share of pictures with the expression asked for
        "by_class": [None if right is None else _share(right[asked == c]) for c in range(len(EXPRESSIONS))],
        "precision": precision,
        "recall": recall,
        "frechet": frechet_distance(gaussian(reference.features), gaussian(made.features)),
        "swd": sliced_wasserstein(reference.patches, made.patches),  # times 1000
    }


def write_labels(path: Path, seen: Look) -> None:
    """Write the observer's answers as `directions.py --labels` reads them: a line per seed."""
    answers = torch.stack([seen.causes[:, CAUSES.index(cause)] for cause in LABELS.values()], dim=1)
    choices = torch.tensor([cause.startswith(CHOICES) for cause in LABELS.values()])
    answers = torch.where(choices, (answers > 0.5).float(), answers)
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["seed", *LABELS])
        for seed, row in enumerate(answers.tolist()):
            writer.writerow([seed, *(f"{number:.4g}" for number in row)])


def _share(truths: Tensor) -> float:
    return truths.double().mean().item()


def table(found: dict[str, Any]) -> str:
    """The result of `judge` as text."""
    width = max(len(row["name"]) for row in found["results"])
    columns = ["asked-for", *EXPRESSIONS, "precision", "recall", "Fréchet", "swd"]
    lines = [
        f"The observer names the expression of {found['observer_accuracy']:.1%} of {found['count']} held-out drawn "
        f"faces of {found['size']}",
        f"and explains {found['observer_variance']:.1%} of the variance of what else they were drawn from.",
        "",
        "  ".join(["".ljust(width), *(f"{column:>9}" for column in columns)]),
    ]
    for row in found["results"]:
        shares = [row["agreement"], *row["by_class"], row["precision"], row["recall"]]
        cells = [f"{'-' if share is None else format(share, '.1%'):>9}" for share in shares]
        cells += [f"{row[name]:9.2f}" for name in ("frechet", "swd")]
        lines.append("  ".join([row["name"].ljust(width), *cells]))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
