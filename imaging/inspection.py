"""What is in a source of images: sizes, modes, classes, duplicates, broken files, and a sheet of samples."""

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps
from pydantic import ValidationError

from imaging.conversion import TWINS, take
from imaging.dataset import DataConfig, open_dataset
from imaging.grid import PAPER, sheet
from imaging.labels import Labels
from imaging.sizes import advise, conversion
from imaging.sources.recognition import open_source
from imaging.sources.source import Content, header, picture
from imaging.survey import Seen, Track, digest, looked_at
from imaging.transforms import is_opaque, on_white
from system.resources import cores

TILE, COLUMNS, ROWS = 96, 10, 10  # of the sheet; up to ROWS classes have a row each


@dataclass
class Inspection:
    """What was found. `sizes` counts (height, width), `modes` L, RGB and RGBA, `transparent` images that use
    their alpha channel. `fingerprint` is that of the training set, or `unfit` says why the source is none."""

    kind: str
    count: int
    labels: Labels
    notes: tuple[str, ...]
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    transparent: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    duplicates: int = 0
    twins: list[tuple[str, str]] = field(default_factory=list)
    fingerprint: str | None = None
    unfit: str = ""
    tiles: dict[str, Image.Image] = field(default_factory=dict)
    rows: list[list[str]] = field(default_factory=list)  # names of the images on the sheet

    def class_counts(self) -> list[int]:
        """Images of each class."""
        return np.bincount(self.labels.values, minlength=len(self.labels.class_names)).tolist()

    def sheet(self) -> Image.Image:
        """Images from the whole set, with a row for each of few classes."""
        blank = Image.new("RGB", (TILE, TILE), PAPER)
        names = self.labels.class_names if 1 < len(self.labels.class_names) <= ROWS else ()
        tiles = [[self.tiles.get(name, blank) for name in row] for row in self.rows]
        return sheet(tiles, [name[:24] for name in names], [])


class _Found(NamedTuple):
    size: tuple[int, int]
    mode: str
    transparent: bool
    digest: int
    tile: Image.Image | None


def _look(content: Content, name: str, sampled: frozenset[str]) -> _Found:
    mode = header(content, name).mode
    image = picture(content, name, mode)
    tile = ImageOps.pad(on_white(image.convert("RGBA")), (TILE, TILE), color=PAPER) if name in sampled else None
    return _Found((image.height, image.width), mode, mode == "RGBA" and not is_opaque(image), digest(image), tile)


def inspect(
    path: str | Path,
    labels: str = "auto",
    every: int = 1,
    workers: int = 0,
    track: Track = lambda items, total, label: items,
) -> Inspection:
    """Look at every image of a source. ValueError or FileNotFoundError if it cannot be opened."""
    source = open_source(path, every)
    taken, names = take(source, labels), source.names
    found = Inspection(source.kind, len(names), taken, tuple(source.notes))
    found.rows = [[names[i] for i in row] for row in _sampled(taken, len(names))]
    look = partial(_look, sampled=frozenset(name for row in found.rows for name in row))
    seen = Seen()
    with closing(looked_at(source, range(len(names)), look, workers or cores())) as looked:
        for number, each in enumerate(track(looked, len(names), "looking")):
            if isinstance(each, ValueError):
                found.broken[names[number]] = str(each)
                continue
            found.sizes[each.size] += 1
            found.modes[each.mode] += 1
            found.transparent += each.transparent
            if each.tile is not None:
                found.tiles[names[number]] = each.tile
            first = seen.first(each.digest, number)
            if first is not None:
                found.duplicates += 1
                found.twins += [(names[number], names[first])] if len(found.twins) < TWINS else []
    found.fingerprint, found.unfit = _as_training_set(str(path), labels, found)
    return found


def _sampled(labels: Labels, count: int) -> list[list[int]]:
    """Which images the sheet shows: spread over the set, or over each class."""

    def spread(indices: np.ndarray, most: int) -> list[int]:
        places = np.linspace(0, max(len(indices) - 1, 0), min(most, len(indices))).round().astype(int)
        return indices[places].tolist()

    classes = len(labels.class_names)
    if 1 < classes <= ROWS:
        return [spread(np.flatnonzero(labels.values == i), COLUMNS) for i in range(classes)]
    places = spread(np.arange(count), COLUMNS * ROWS)
    return [places[start : start + COLUMNS] for start in range(0, len(places), COLUMNS)]


def _as_training_set(path: str, labels: Any, found: Inspection) -> tuple[str | None, str]:
    """The fingerprint by which train.py knows the set; or why it cannot use the set, with the command that helps."""
    mark = str(advise(found.sizes)) if found.sizes else "set"
    command = f"make a set with `{conversion(path, mark, labels=labels, sized=bool(found.sizes))}`"
    try:
        dataset = open_dataset(DataConfig(path=path, labels=labels))
    except ValidationError:
        return None, f"its labels are in a file of their own: {command}"
    except ValueError as error:
        return None, str(error)
    if dataset.count != found.count:
        few = f"train.py reads {dataset.count} of its {found.count} images and skips the other formats"
        return None, f"{few}: {command}"
    return dataset.fingerprint, ""
