"""A network published: the folder that the Hugging Face Hub shows, with a card and samples of the network's own."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import nn

from imaging.grid import save_image, sheet
from imaging.pixels import to_pil
from models import hubfolder
from models.families import save_network
from models.stylegan2.sampler import StyleSampler
from models.stylegan2.styles import Samplable, Sizes
from sampling.classes import LONGEST, class_names, learned_classes
from sampling.modelcard import model_card
from system.files import real_path, replacing
from system.text import printable
from torch_utils import checkpoint

OURS = (hubfolder.MODEL, hubfolder.CONFIG, hubfolder.CARD, hubfolder.SAMPLES)
SIDE = 2048  # pixels, about the most of a sheet of samples
COLUMNS, ROWS, MOST_CLASSES = 8, 4, 8  # of it, where pictures are small


class Plan(NamedTuple):
    """Which pictures a sheet of samples has."""

    rows: list[list[int]]  # seeds
    classes: list[int]  # of the rows; empty where the network has none
    labels: list[str]  # of the rows, likewise
    caption: str

    @property
    def total(self) -> int:
        """How many pictures."""
        return sum(map(len, self.rows))


def plan_samples(config: Sizes, metadata: Mapping[str, Any]) -> Plan:
    """A row for every class, up to eight; without classes four rows. Fewer where pictures are large."""
    columns = min(COLUMNS, max(2, SIDE // config.width))
    fitting = max(1, SIDE // config.height)
    how = "not picked, psi 1 (no truncation), the network's own noise"
    if not config.classes:
        rows = [list(range(k * columns, (k + 1) * columns)) for k in range(min(ROWS, fitting))]
        return Plan(rows, [], [], f"Seeds 0-{rows[-1][-1]}, {how}.")
    classes = learned_classes(metadata, config.classes)[: min(MOST_CLASSES, fitting)]
    names = class_names(metadata, config.classes)
    labels = [printable(names[k], LONGEST) for k in classes]
    some = "" if len(classes) == config.classes else f" (the first {len(classes)} of {config.classes})"
    caption = f"Every row is a class{some}; seeds 0-{columns - 1}, {how}."
    return Plan([list(range(columns)) for _ in classes], classes, labels, caption)


def draw_samples(G: Samplable, plan: Plan) -> Iterator[Image.Image]:
    """The pictures of a plan, row by row."""
    seeds = [seed for row in plan.rows for seed in row]
    classes = [k for k, row in zip(plan.classes, plan.rows, strict=True) for _ in row] if plan.classes else None
    sampler = StyleSampler(G)
    requests = [
        r._replace(label=k) for r, k in zip(sampler.requests(seeds), classes or [None] * len(seeds), strict=True)
    ]
    yield from map(to_pil, sampler.sample(requests))


def check_publishable(folder: Path) -> None:
    """Makes sure that a folder is new, empty, or one of the Hub.

    Hidden files, such as those of git, and a card that is there already are in nobody's way.

    Raises:
        ValueError: when it is a file, or holds other things.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, and a network of the Hub is a folder: name another one")
    if not folder.is_dir() or (folder / hubfolder.MODEL).is_file():
        return
    others = sorted(path.name for path in folder.iterdir() if path.name[0] != "." and path.name != hubfolder.CARD)
    if others:
        raise ValueError(f"{folder} holds other things, such as {others[0]}: name a new folder, or one of the Hub")


def publish(
    folder: Path,
    family: str,
    networks: Mapping[str, nn.Module],
    metadata: Mapping[str, Any],
    dtype: torch.dtype,
    pictures: Sequence[Image.Image],
    plan: Plan,
    licence: str | None,
) -> list[str]:
    """Writes the folder, each file whole, and returns the names of those written. A card that is there is kept.

    Args:
        folder: where; other files in it stay.
        family, networks: of G_ema, G and D those to publish.
        metadata: of the network file, but for what `save_network` writes itself.
        dtype: of the stored tensors.
        pictures, plan: the samples.
        licence: as of `model_card`.
    """
    config: Any = next(network for name, network in networks.items() if name != "D").config
    model = folder / hubfolder.MODEL
    (folder / hubfolder.CONFIG).unlink(missing_ok=True)  # it may be of another network than the one to come
    save_network(model, family, networks, metadata, dtype)
    _, written = checkpoint.load(model)
    _write(folder / hubfolder.CONFIG, json.dumps(written, indent=2) + "\n")
    columns = len(plan.rows[0])
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    save_image(sheet(rows, plan.labels, []), folder / hubfolder.SAMPLES)
    if (folder / hubfolder.CARD).exists():
        return [name for name in OURS if name != hubfolder.CARD]
    card = model_card(real_path(folder).name, config, written, list(networks), plan.caption, licence)
    _write(folder / hubfolder.CARD, card)
    return list(OURS)


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
