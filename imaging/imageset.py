"""The interface of every set of training images."""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from imaging.labels import Labels
from imaging.order import index_at
from imaging.sizes import spell
from imaging.transforms import NAMES, richest


class Classes(NamedTuple):
    """The classes of a set; no names if it is unlabeled."""

    names: tuple[str, ...]
    counts: np.ndarray  # int64 [classes]: images in each
    note: str  # one sentence on where the labels come from


class ImageSet(Dataset[tuple[np.ndarray, int]], ABC):
    """Images of one size and their classes. Item i is (uint8 pixels [C, H, W], class); the class is 0 without labels.

    With `mirror` the set is twice as long: its second half is the first half mirrored left to right. Sets with equal
    fingerprints have the same items in the same order.
    """

    former_fingerprints: tuple[str, ...] = ()  # that earlier versions of this program gave the same items
    notes: tuple[str, ...] = ()  # what else a user should know, one sentence each

    def __init__(
        self,
        name: str,
        height: int,
        width: int,
        channels: int,
        count: int,
        classes: Classes,
        mirror: bool,
        fingerprint: str,
    ) -> None:
        self.name = name
        self.height, self.width, self.channels = height, width, channels
        self.count = count  # images, not counting mirrored ones
        self.class_names, self._class_counts, self.labels_note = classes
        self.mirror = mirror
        self.fingerprint = fingerprint

    def is_known_as(self, fingerprint: str) -> bool:
        """Whether a fingerprint, perhaps recorded by an earlier version, belongs to these items."""
        return fingerprint in (self.fingerprint, *self.former_fingerprints)

    @property
    def classes(self) -> int:
        """Number of classes; 0 if the set is unlabeled."""
        return len(self.class_names)

    @property
    def label_counts(self) -> np.ndarray:
        """int64 [classes]: how many items, mirrored ones included, each class has."""
        return self._class_counts * (2 if self.mirror else 1)

    @abstractmethod
    def read(self, index: int) -> np.ndarray:
        """Pixels uint8 [C, H, W] of image `index`, not mirrored. ValueError if the image cannot be decoded."""

    @abstractmethod
    def label(self, index: int) -> int:
        """Class of image `index`."""

    @abstractmethod
    def examples(self, label: int) -> np.ndarray:
        """Indices of images of a class: all, or as many as are found quickly; at least one if the class has images.

        In an unlabeled set all images have class 0.
        """

    def resized(self, height: int, width: int) -> str:
        """How a user gets these images in another size, as the end of an error message."""
        return f"give images of {spell(height, width)}"

    def index_at(self, seed: int, position: int) -> int:
        """Index of the item shown at `position` (0, 1, 2, ...) of the endless shuffle; a pure function."""
        return index_at(seed, position, len(self))

    def __len__(self) -> int:
        return self.count * (2 if self.mirror else 1)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of a set of {len(self)}")
        mirrored, picture = divmod(index, self.count)
        pixels = self.read(picture)
        if mirrored:
            pixels = np.ascontiguousarray(pixels[:, :, ::-1])
        return pixels, self.label(picture)


class ListedSet(ImageSet):
    """A set that holds the class of every image in memory: `labels`, int64 [images]."""

    def __init__(
        self, name: str, height: int, width: int, channels: int, labels: Labels, mirror: bool, fingerprint: str
    ) -> None:
        self.labels = labels.values
        counts = np.bincount(labels.values, minlength=len(labels.class_names)).astype(np.int64)
        classes = Classes(labels.class_names, counts[: len(labels.class_names)], labels.note)
        super().__init__(name, height, width, channels, len(labels.values), classes, mirror, fingerprint)

    def label(self, index: int) -> int:
        return int(self.labels[index])

    def examples(self, label: int) -> np.ndarray:
        return (self.labels == label).nonzero()[0]


def run_name(text: str) -> str:
    """A short name for run folders: at most 40 letters, digits and dashes."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:40]


def notes_on_modes(modes: Counter[str]) -> Iterator[str]:
    """Sentences for the user on the modes of a set's images: mode -> number of images."""
    if len(modes) > 1:
        mixture = " and ".join(f"{count} {NAMES[mode]}" for mode, count in sorted(modes.items()))
        yield f"the set mixes {mixture} images: all are read as {NAMES[richest(set(modes))]}"
    if "RGBA" in modes:
        yield "transparency is learned as a fourth channel"
