"""How good a network of the demo set is, by an observer that learnt to see what faces were drawn from.

`python -m benchmarks.quality --network runs/00000-demo32-demo/network-000012.0.safetensors`
"""

import json
import platform
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.observer import Observer, Seen, draw, look, train, variance_seen
from imaging.faces import EXPRESSIONS
from imaging.pixels import to_images, to_pixels
from imaging.sizes import spell
from metrics.frechet import frechet_distance, gaussian
from metrics.precision_recall import precision_recall
from metrics.sliced_wasserstein import descriptors, sliced_wasserstein
from models.families import NetworkFile, read_network
from models.stylegan2.generator import Generator
from models.stylegan2.latents import seeds_to_z
from torch_utils.cli import Command, option, progress, say
from torch_utils.device import resolve_device, set_precision

EXAMPLES = """
Examples:
  python -m benchmarks.quality --network runs/00000-demo32-demo/network-000012.0.safetensors
  python -m benchmarks.quality --network a.safetensors --network b.safetensors --count 5000 --json
"""
HELD_OUT, OTHER = 2, 3  # worlds of drawn faces that neither the observer nor train.py learns from
BATCH = 16


@dataclass(frozen=True)
class Quality:
    """What the observer found in one set of pictures; shares lie in 0..1."""

    name: str
    kimg: float | None
    agreement: float | None  # share of pictures of the expression that was asked for; None without classes
    by_class: tuple[float, ...]  # the same for each class, empty without classes
    precision: float
    recall: float
    frechet: float  # Fréchet distance of the observer's features
    swd: float  # sliced Wasserstein distance of patches, times 1000


@dataclass(frozen=True)
class Look:
    """What is known of one set of pictures: what the observer makes of them, and their patches."""

    seen: Seen
    patches: Tensor


@click.command(cls=Command, epilog=EXAMPLES)
@option(
    "--network",
    "networks",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    group="Input",
    help="A network trained on the demo set; give the option again for more of the same size.",
)
@option("--count", type=click.IntRange(min=10), default=1000, group="Input", help="Samples: seeds 0 ... count - 1.")
@option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", group="Machine", help="Where.")
@option("--json", "as_json", is_flag=True, group="Output", help="Print JSON instead of a table.")
def main(networks: tuple[Path, ...], count: int, device: str, as_json: bool) -> None:
    """Judge networks of the demo set on pictures whose every cause is known.

    A small network learns to see the expression of drawn faces, and what else they were drawn from. Then it looks at
    samples with psi 1, classes in turn and constant noise: do they show the expression that was asked for, and how do
    their features lie among those of drawn faces that nobody has learnt from?
    """
    set_precision("fp32")
    place = resolve_device(device)
    files = [read_network(path) for path in networks]
    height, width = common_size(files)
    start = time.perf_counter()
    observer = train(height, width, place)
    found = judge(observer, files, count, height, width)
    found["seconds"] = round(time.perf_counter() - start, 1)
    say(json.dumps(found) if as_json else table(found))


def common_size(files: list[NetworkFile]) -> tuple[int, int]:
    """(height, width) of all the networks, if they are networks of the demo set and of one size.

    Raises:
        ValueError: when they are not.
    """
    for file in files:
        G = file.metadata["generator"]
        if G["channels"] != 3 or G["classes"] not in (0, len(EXPRESSIONS)):
            raise ValueError(
                f"{file.path} makes images of {G['channels']} channels in {G['classes']} classes, and the demo set has "
                f"3 in {len(EXPRESSIONS)}: give a network that was trained on it"
            )
    sizes = {(file.metadata["generator"]["height"], file.metadata["generator"]["width"]) for file in files}
    if len(sizes) > 1:
        named = " and ".join(sorted(spell(*size) for size in sizes))
        raise ValueError(f"the networks make images of {named}: judge those of each size by themselves")
    return sizes.pop()


def judge(observer: Observer, files: list[NetworkFile], count: int, height: int, width: int) -> dict[str, Any]:
    """The whole comparison: the observer's own skill, drawn faces as the best that can be had, and each network."""
    held_out, other = (draw(world, count, height, width) for world in (HELD_OUT, OTHER))
    reference = look_closely(observer, held_out.pixels.split(BATCH))
    drawn = look_closely(observer, other.pixels.split(BATCH))
    rows = [quality("drawn faces", None, drawn, other.expressions, reference)]
    for file in files:
        G = file.part("G_ema").to(next(observer.parameters()).device)
        assert isinstance(G, Generator)
        labels = torch.arange(count) % len(EXPRESSIONS) if G.config.classes else None
        made = look_closely(observer, progress(samples(G, labels, count), -(-count // BATCH), file.path.name))
        rows.append(quality(short_name(file.path), file.metadata.get("kimg"), made, labels, reference))
    return {
        "size": spell(height, width),
        "count": count,
        "observer_accuracy": _share(reference.seen.expressions == held_out.expressions),
        "observer_variance": variance_seen(held_out.causes, reference.seen.causes),
        "class_names": EXPRESSIONS,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "results": [asdict(row) for row in rows],
    }


def short_name(path: Path) -> str:
    """The file and its folder, as networks of two runs may have one name."""
    return "/".join(path.parts[-2:])


def samples(G: Generator, labels: Tensor | None, count: int) -> Iterator[Tensor]:
    """Pixels uint8 [n, 3, H, W] of seeds 0 ... count - 1 with their classes, psi 1 and constant noise."""
    device = G.mapping.w_average.device
    for first in range(0, count, BATCH):
        seeds = range(first, min(first + BATCH, count))
        z = seeds_to_z(seeds, G.config.z_dim).to(device)
        c = None if labels is None else F.one_hot(labels[seeds.start : seeds.stop], G.config.classes).to(device)
        with torch.no_grad():
            yield to_pixels(G(z, c, noise_mode="const"))


def look_closely(observer: Observer, batches: Iterable[Tensor]) -> Look:
    """Features and patches of pictures, given as batches of pixels uint8 [n, 3, H, W]."""
    pixels = torch.cat([batch.cpu() for batch in batches])
    indices = torch.arange(len(pixels)).split(BATCH)
    patches = [descriptors(to_images(pixels[part]), part.tolist()) for part in indices]
    return Look(look(observer, pixels.split(BATCH)), torch.cat(patches))


def quality(name: str, kimg: float | None, made: Look, labels: Tensor | None, reference: Look) -> Quality:
    """One row: pictures with the classes that were asked for [N], against drawn faces."""
    real, fake = reference.seen.features, made.seen.features
    against = (
        *precision_recall(real, fake),
        frechet_distance(gaussian(real), gaussian(fake)),
        sliced_wasserstein(reference.patches, made.patches),
    )
    if labels is None:
        return Quality(name, kimg, None, (), *against)
    right = made.seen.expressions == labels
    by_class = tuple(_share(right[labels == c]) for c in range(len(EXPRESSIONS)))
    return Quality(name, kimg, _share(right), by_class, *against)


def _share(truths: Tensor) -> float:
    return truths.double().mean().item()


def table(found: dict[str, Any]) -> str:
    """The findings of `judge` as text."""
    width = max(len(row["name"]) for row in found["results"])
    columns = ["asked-for", *EXPRESSIONS, "precision", "recall", "Fréchet", "swd"]
    lines = [
        f"The observer names the expression of {found['observer_accuracy']:.1%} of {found['count']} held-out drawn "
        f"faces of {found['size']}",
        f"and sees {found['observer_variance']:.1%} of the variance of what else they were drawn from.",
        "",
        "  ".join(["".ljust(width), *(f"{column:>9}" for column in columns)]),
    ]
    for row in found["results"]:
        shares = [row["agreement"], *(row["by_class"] or [None] * len(EXPRESSIONS)), row["precision"], row["recall"]]
        cells = [f"{'-' if share is None else format(share, '.1%'):>9}" for share in shares]
        cells += [f"{row[name]:9.2f}" for name in ("frechet", "swd")]
        lines.append("  ".join([row["name"].ljust(width), *cells]))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
