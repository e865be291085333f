"""The sample sheets of a run: the same latents at every snapshot, one class to a row."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from imaging.grid import captioned, tile
from imaging.imageset import ImageSet
from imaging.pixels import to_pixels
from torch_utils import seeds
from training.diversity import diversity

SHEET_WIDTH, SHEET_HEIGHT = 1280, 720  # pixels, about; no dimension has fewer than 4 or more than 16 tiles
NAME = 24  # letters of a class's name beside its row
LOOKED_AT = 16  # times as many pictures as a sheet shows are looked at for their class
AT_ONCE = 2**16  # pixels: small images are quickest made many at once, in no more memory than a few large ones


class Samples:
    """Latents and classes of a sheet.

    Args:
        dataset: gives the size of the images and the classes.
        z_dim: dimensions of the latents.
        seed: of the latents.
        batch: images made at once, at the least; those of a training step suit the memory.
    """

    def __init__(self, dataset: ImageSet, z_dim: int, seed: int, batch: int) -> None:
        self.batch = max(batch, AT_ONCE // (dataset.height * dataset.width))
        self.columns = min(max(SHEET_WIDTH // dataset.width, 4), 16)
        rows = min(max(SHEET_HEIGHT // dataset.height, 4), 16)
        count = self.columns * rows
        self.seed = seed
        shown = [int(k) for k in dataset.label_counts.nonzero()[0]] or [0]  # a set may have empty classes
        self.rows_classes = [shown[row % len(shown)] for row in range(rows)]
        self.z = torch.randn(count, z_dim, generator=seeds.generator("cpu", seed, "sample sheet"))
        labels = torch.tensor(self.rows_classes).repeat_interleave(self.columns)
        self.c = F.one_hot(labels, dataset.classes).float() if dataset.classes else None

    @torch.no_grad()
    def draw(self, sampler: Any, device: torch.device) -> Image.Image:
        """The sheet as the sampler, a generator, sees it now: full variety, constant noise."""
        made = []
        for start in range(0, len(self.z), self.batch):
            part = slice(start, start + self.batch)
            c = None if self.c is None else self.c[part].to(device)
            images = sampler(self.z[part].to(device), c, noise_mode="const")
            made.append(to_pixels(images, rounding="nearest").cpu())
        return tile(torch.cat(made), self.columns)

    def measure(self, sheet: Image.Image, reals: Path) -> dict[str, float]:
        """How much the fakes of a sheet differ from one another, compared with the reals in a file, if it is whole."""
        try:
            with Image.open(reals) as image:
                left = image.width - sheet.width  # what is before it are the names of the rows
                if image.height != sheet.height or left < 0:
                    return {}
                pictures = image.convert(sheet.mode).crop((left, 0, image.width, image.height))
                return diversity(sheet, pictures, self.columns, self.rows_classes)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow raises for damaged files
            return {}

    def reals(self, dataset: ImageSet) -> Image.Image:
        """A sheet of real images in the same arrangement: a random sample, always the same one.

        Before each row is the name of its class.
        """
        chosen = self._sample(dataset)
        indices = [next(chosen[k]) for k in self.rows_classes for _ in range(self.columns)]
        image = tile(torch.stack([torch.from_numpy(dataset[index][0]) for index in indices]), self.columns)
        if not dataset.class_names:
            return image
        return captioned(image, [dataset.class_names[k][:NAME] for k in self.rows_classes])

    def _sample(self, dataset: ImageSet) -> dict[int, Iterator[int]]:
        """Of each class on the sheet an endless row of different pictures, which begins anew when there are no more.

        They are the first images of the set's own shuffle; with shards, that order opens the shards that training opens
        first. A class that is rare there is filled up from the set's examples of it.
        """
        wanted = {k: count * self.columns for k, count in Counter(self.rows_classes).items()}
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
