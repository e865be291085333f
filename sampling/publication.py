"""A network published: the folder that the Hugging Face Hub shows, with a card and samples."""

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from imaging.grid import save_image, sheet
from imaging.pixels import to_pil
from models import places
from models.classes import learned_classes
from models.families import FAMILIES, save_network
from models.foreign import Job
from models.sampler import Sampler, Shape
from sampling.classes import LONGEST, class_names
from sampling.modelcard import Card, model_card
from system.files import real_path, replacing
from system.text import printable
from torch_utils import checkpoint
from torch_utils.cli import progress

SIDE = 2048  # pixels of the sheet of samples, about, at most
COLUMNS, ROWS, MOST_CLASSES = 8, 4, 8  # of the sheet, if pictures are small


class SamplePlan(NamedTuple):
    """The pictures of a sheet of samples."""

    rows: list[list[int]]  # seeds
    classes: list[int]  # of the rows; empty without classes
    labels: list[str]  # of the rows; empty without classes
    caption: str

    @property
    def total(self) -> int:
        """The number of pictures."""
        return sum(map(len, self.rows))


def plan_samples(shape: Shape, metadata: Mapping[str, Any], how: str) -> SamplePlan:
    """A row for each class, up to eight; without classes four rows. Fewer if pictures are large.

    Args:
        shape: of the pictures.
        metadata: of the network file.
        how: how the family makes them, for the caption.
    """
    columns = min(COLUMNS, max(2, SIDE // shape.width))
    fitting = max(1, SIDE // shape.height)
    how = f"not picked, {how}" if how else "not picked"
    if not shape.classes:
        rows = [list(range(k * columns, (k + 1) * columns)) for k in range(min(ROWS, fitting))]
        return SamplePlan(rows, [], [], f"Seeds 0-{rows[-1][-1]}, {how}.")
    classes = learned_classes(metadata, shape.classes)[: min(MOST_CLASSES, fitting)]
    names = class_names(metadata, shape.classes)
    labels = [printable(names[k], LONGEST) for k in classes]
    some = "" if len(classes) == shape.classes else f" (the first {len(classes)} of {shape.classes})"
    caption = f"Every row is a class{some}; seeds 0-{columns - 1}, {how}."
    return SamplePlan([list(range(columns)) for _ in classes], classes, labels, caption)


def draw_samples(sampler: Sampler, plan: SamplePlan) -> Iterator[Image.Image]:
    """The pictures of a plan, row by row."""
    classes: list[int] | list[None] = plan.classes or [None] * len(plan.rows)
    for seeds, label in zip(plan.rows, classes, strict=True):
        yield from map(to_pil, sampler.sample(sampler.requests(seeds, label)))


def check_publishable(folder: Path) -> None:
    """Check that a folder is missing, empty, or a folder of the Hub. Hidden files and a model card may be there.

    Raises:
        ValueError: if it is a file, or holds other things.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, but the Hub needs a folder: name another path")
    if not folder.is_dir() or (folder / places.MODEL).is_file():
        return
    others = sorted(path.name for path in folder.iterdir() if path.name[0] != "." and path.name != places.CARD)
    if others:
        raise ValueError(f"{folder} holds other things, such as {others[0]}: name a new folder, or one of the Hub")


def publish(job: Job, dtype: torch.dtype) -> list[str]:
    """Write the folder, each file atomically, and return the names of the written files.

    Other files in the folder stay, and so does an existing card.
    """
    family, folder = FAMILIES[job.metadata["family"]], job.dest
    shown = next((name for name in family.shown if name in job.networks), next(iter(job.networks)))
    config: Any = job.networks[shown].config
    plan, samples = None, None
    if family.open_sampler is not None:
        plan = plan_samples(family.shape(config), job.metadata, family.caption)
        # A copy, because a sampler may prepare weights for inference.
        sampler = family.open_sampler({shown: copy.deepcopy(job.networks[shown])}, family.options(), job.metadata)
        pictures = list(progress(draw_samples(sampler, plan), plan.total, "samples"))
        columns = len(plan.rows[0])
        samples = sheet([pictures[i : i + columns] for i in range(0, len(pictures), columns)], plan.labels, [])
    (folder / places.CONFIG).unlink(missing_ok=True)  # it may describe the network that is replaced now
    save_network(folder / places.MODEL, family.name, job.networks, job.metadata, dtype)
    _, written = checkpoint.load(folder / places.MODEL)
    _write(folder / places.CONFIG, json.dumps(written, indent=2) + "\n")
    names = [places.MODEL, places.CONFIG]
    if not (folder / places.CARD).exists():
        caption = plan.caption if plan else ""
        about = Card(real_path(folder).name, family, written, list(job.networks), caption, job.options.license)
        _write(folder / places.CARD, model_card(about, config))
        names.append(places.CARD)
    if samples is not None:
        save_image(samples, folder / places.SAMPLES)
        names.append(places.SAMPLES)
    return names


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
