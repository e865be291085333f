"""What is in a source of images: sizes, modes, classes, duplicates, broken files, and a sheet of samples."""

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np
from PIL import Image, ImageOps

from imaging.conversion import TWINS, take
from imaging.dataset import DataConfig, open_dataset
from imaging.duplicates import Seen, digest
from imaging.grid import PAPER, sheet
from imaging.labels import Labels
from imaging.parallel import ordered
from imaging.sizes import advise, conversion
from imaging.sources.recognition import open_source
from imaging.sources.source import Job, Source, Work, header, jobs, picture
from imaging.survey import Track
from imaging.transforms import is_opaque, on_white
from system.machine import cores

TOGETHER = 16  # images that a process looks at in one go
TILE, COLUMNS, ROWS = 96, 10, 10  # of the sheet; up to ROWS classes have a row each


@dataclass
class Inspection:
    """What was found. `sizes` counts (height, width), `modes` L, RGB and RGBA, `transparent` images that use
    their alpha channel. `fingerprint` is that of the training set, or `unfit` says why the source is none."""

    kind: str
    count: int
    labels: Labels
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    transparent: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    duplicates: int = 0
    twins: list[tuple[str, str]] = field(default_factory=list)
    fingerprint: str | None = None
    unfit: str = ""
    notes: tuple[str, ...] = ()
    samples: dict[int, Image.Image] = field(default_factory=dict)
    rows: list[list[int]] = field(default_factory=list)  # numbers of the images on the sheet

    def class_counts(self) -> list[int]:
        """Images of each class."""
        return np.bincount(self.labels.values, minlength=len(self.labels.class_names)).tolist()

    def sheet(self) -> Image.Image:
        """Images from the whole set, with a row for each of few classes."""
        blank = Image.new("RGB", (TILE, TILE), PAPER)
        tiles = [[self.samples.get(i, blank) for i in row] for row in self.rows]
        names = self.labels.class_names if 1 < len(self.labels.class_names) <= ROWS else ()
        return sheet(tiles, [name[:24] for name in names], [])


class _Found(NamedTuple):
    number: int
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    transparent: bool = False
    digest: int = 0
    tile: Image.Image | None = None
    reason: str | None = None


class _Looking(Work):
    def __init__(self, source: Source, sampled: frozenset[int]) -> None:
        super().__init__(source)
        self.sampled = sampled

    def __call__(self, job: Job) -> _Found:
        index, name, _ = job
        try:
            content = self.content(job)
            mode = header(content, name).mode
            image = picture(content, name, mode)
        except ValueError as error:
            return _Found(index, reason=str(error))
        transparent = mode == "RGBA" and not is_opaque(image)
        tile = _tile(image) if index in self.sampled else None
        return _Found(index, (image.height, image.width), mode, transparent, digest(image), tile)


def inspect(
    path: str | Path,
    labels: str = "auto",
    every: int = 1,
    workers: int = 0,
    track: Track = lambda items, total, label: items,
) -> Inspection:
    """Look at every image of a source. ValueError or FileNotFoundError if it cannot be opened."""
    source = open_source(path, every)
    taken = take(source, labels)
    found = Inspection(source.kind, len(source.names), taken, notes=tuple(source.notes))
    found.rows = _sampled(taken, len(source.names))
    seen = Seen()
    looking = _Looking(source, frozenset(i for row in found.rows for i in row))
    everything = jobs(source, range(len(source.names)))
    with closing(ordered(looking, everything, workers or cores(), TOGETHER)) as looked:
        for each in track(looked, len(source.names), "looking"):
            _enter(found, source, each, seen)
    found.fingerprint, found.unfit = _as_training_set(str(path), labels, found)
    return found


def _enter(found: Inspection, source: Source, each: _Found, seen: Seen) -> None:
    name = source.names[each.number]
    if each.reason is not None:
        found.broken[name] = each.reason
        return
    found.sizes[each.size] += 1
    found.modes[each.mode] += 1
    found.transparent += each.transparent
    if each.tile is not None:
        found.samples[each.number] = each.tile
    first = seen.first(each.digest, each.number)
    if first is not None:
        found.duplicates += 1
        if len(found.twins) < TWINS:
            found.twins.append((name, source.names[first]))


def _sampled(labels: Labels, count: int) -> list[list[int]]:
    """Which images the sheet shows: spread over the set, or over each class."""
    classes = len(labels.class_names)
    if 1 < classes <= ROWS:
        return [_spread(np.flatnonzero(labels.values == i), COLUMNS) for i in range(classes)]
    spread = _spread(np.arange(count), COLUMNS * ROWS)
    return [spread[start : start + COLUMNS] for start in range(0, len(spread), COLUMNS)]


def _spread(indices: np.ndarray, most: int) -> list[int]:
    places = np.linspace(0, max(len(indices) - 1, 0), min(most, len(indices))).round().astype(int)
    return [int(i) for i in indices[places]]


def _tile(image: Image.Image) -> Image.Image:
    """The image fitted into a white square."""
    return ImageOps.pad(on_white(image.convert("RGBA")), (TILE, TILE), color=PAPER)


def _as_training_set(path: str, labels: str, found: Inspection) -> tuple[str | None, str]:
    """The fingerprint by which train.py knows the set; or why it cannot use the set, with the command that helps."""
    mark = str(advise(found.sizes)) if found.sizes else "set"
    command = f"make a set with `{conversion(path, mark, labels=labels, sized=bool(found.sizes))}`"
    if labels not in ("auto", "none", "folders"):
        return None, f"its labels are in a file of their own: {command}"
    try:
        dataset = open_dataset(DataConfig(path=path, labels=cast(Literal["auto", "none", "folders"], labels)))
    except ValueError as error:
        return None, str(error)
    if dataset.count != found.count:
        few = f"train.py reads {dataset.count} of its {found.count} images and skips the other formats"
        return None, f"{few}: {command}"
    return dataset.fingerprint, ""
