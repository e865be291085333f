"""The sample sheets of a run: the same seed at every snapshot, one class per row; and how varied their pictures are."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from imaging.grid import captioned, tile
from imaging.imageset import ImageSet

SHEET_WIDTH, SHEET_HEIGHT = 1280, 720  # pixels, about; without a limit a side has 4 to 16 tiles
NAME = 24  # letters of a class's name beside its row
SIDE = 16  # pixels that a tile is reduced to: smaller detail is texture, which varies even in a collapsed model
FEWEST = 8  # pictures; distances among fewer say little
LOOKED_AT = 16  # images read for their class, as a multiple of the pictures on a sheet


class Sheet:
    """The arrangement of a sample sheet of at most `most` pictures. What they show is up to the recipe."""

    def __init__(self, dataset: ImageSet, seed: int, most: int = 256) -> None:
        self.seed = seed
        height, width = dataset.size
        self.columns = min(max(SHEET_WIDTH // width, 4), 16, most)
        self.rows = min(max(SHEET_HEIGHT // height, 4), 16, most // self.columns)
        present = [int(k) for k in dataset.label_counts.nonzero()[0]] or [0]  # a set may have empty classes
        self.classes = [present[row % len(present)] for row in range(self.rows)]
        self.labels = [k for k in self.classes for _ in range(self.columns)]

    def arrange(self, pictures: Iterable[Tensor]) -> Image.Image:
        """The sheet of pictures, uint8 [C, H, W] each, row by row."""
        return tile(torch.stack(list(pictures)), self.columns)

    def measure(self, sheet: Image.Image, reals: Path) -> dict[str, float]:
        """The diversity of the samples on a sheet relative to the reals in a file; empty if the file is damaged."""
        try:
            with Image.open(reals) as image:
                left = image.width - sheet.width  # width of the names of the rows
                if image.height != sheet.height or left < 0:
                    return {}
                pictures = image.convert(sheet.mode).crop((left, 0, image.width, image.height))
                return diversity(sheet, pictures, self.columns, self.classes)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow raises for damaged files
            return {}

    def reals(self, dataset: ImageSet) -> Image.Image:
        """A sheet of real images, always the same random sample, with the name of its class before each row."""
        chosen = self._sample(dataset)
        image = self.arrange(torch.from_numpy(dataset.picture(next(chosen[k]))) for k in self.labels)
        if not dataset.class_names:
            return image
        return captioned(image, [dataset.class_names[k][:NAME] for k in self.classes])

    def _sample(self, dataset: ImageSet) -> dict[int, Iterator[int]]:
        """Endless indices of images of each class: the first of its own shuffle, whose shards training opens first."""
        wanted = Counter(self.labels)
        found: dict[int, dict[int, None]] = {k: {} for k in wanted}
        for position in range(min(len(dataset), LOOKED_AT * sum(wanted.values()))):
            index = dataset.index_at(self.seed, position) % dataset.count  # not mirrored
            k = dataset.label(index)
            if k in wanted and len(found[k]) < wanted[k]:
                found[k][index] = None
            if all(len(found[k]) == wanted[k] for k in wanted):
                break
        for k, indices in found.items():
            if len(indices) < wanted[k]:
                examples = np.random.RandomState(self.seed).permutation(dataset.examples(k))
                indices.update(dict.fromkeys(int(index) for index in examples[: wanted[k]]))
        return {k: itertools.cycle(indices or [0]) for k, indices in found.items()}


def diversity(
    samples: Image.Image, reals: Image.Image, columns: int, classes_of_rows: Sequence[int] = ()
) -> dict[str, float]:
    """Mean distances among the samples of a sheet, divided by those among the reals of a sheet of the same form.

    `samples/diversity` is of pairs: 1 if samples vary as reals do, 0 if all are the same; `samples/diversity class 3`
    within a class; `samples/nearest` of a picture and the one most like it. Empty if there are too few different reals.
    """
    rows = len(classes_of_rows) or max(round(reals.height * columns / reals.width), 1)
    made, real = _tiles(samples, columns, rows), _tiles(reals, columns, rows)
    found = _ratios(made, real)
    classes = sorted(set(classes_of_rows))
    for number in classes if len(classes) > 1 else ():
        chosen = [row for row, of_row in enumerate(classes_of_rows) if of_row == number]
        if ratios := _ratios(made[chosen], real[chosen]):
            found[f"samples/diversity class {number}"] = ratios["samples/diversity"]
    return found


def _tiles(sheet: Image.Image, columns: int, rows: int) -> np.ndarray:
    """The tiles of a sheet, float32 [rows, columns, values]."""
    pixels = np.asarray(sheet.resize((columns * SIDE, rows * SIDE), Image.Resampling.BOX), np.float32)
    return pixels.reshape(rows, SIDE, columns, SIDE, -1).transpose(0, 2, 1, 3, 4).reshape(rows, columns, -1)


def _ratios(samples: np.ndarray, reals: np.ndarray) -> dict[str, float]:
    """Ratios of the distances of pairs and of nearest pictures. A small data set shows a real more than once."""
    real = np.unique(reals.reshape(-1, reals.shape[-1]), axis=0)
    if len(real) < FEWEST:
        return {}
    made = samples.reshape(-1, samples.shape[-1])[: len(real)]  # equally many: among more, the nearest is nearer
    (pair, nearest), (real_pair, real_nearest) = _distances(made), _distances(real)
    return {"samples/diversity": pair / real_pair, "samples/nearest": nearest / real_nearest}


def _distances(points: np.ndarray) -> tuple[float, float]:
    """Mean Euclidean distances over all pairs of points [N, D], and of each point to its nearest other."""
    x = torch.from_numpy(points.astype(np.float64))
    distances = torch.cdist(x, x)
    pairs = float(distances.sum()) / (len(x) * (len(x) - 1))
    return pairs, float(distances.fill_diagonal_(torch.inf).amin(dim=1).mean())
