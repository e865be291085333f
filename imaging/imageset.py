"""What every set of training pictures offers, wherever its pixels come from."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from imaging.labels import Labels
from imaging.order import index_at


class Classes(NamedTuple):
    """The classes of a set; none when it is unlabelled."""

    names: tuple[str, ...]
    counts: np.ndarray  # int64 [classes]: pictures in each
    note: str  # one sentence on where they are from


class ImageSet(Dataset[tuple[np.ndarray, int]], ABC):
    """Pictures of one size and their classes. Item i is (uint8 pixels [C, H, W], class); unlabelled pictures say 0.

    With `mirror` the set is twice as long: its second half is the first half seen in a mirror. Equal fingerprints mean
    the same items in the same order.
    """

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
        self.count = count  # of pictures; of items there may be twice as many
        self.class_names = classes.names
        self.labels_note = classes.note
        self.mirror = mirror
        self.fingerprint = fingerprint
        self.former_fingerprints: tuple[str, ...] = ()  # of the same items, by earlier versions of this program
        self.notes: tuple[str, ...] = ()  # what else a user should know, one sentence each
        self._class_counts = classes.counts

    def is_known_as(self, fingerprint: str) -> bool:
        """Whether a fingerprint, perhaps recorded by an earlier version, is of these items."""
        return fingerprint in (self.fingerprint, *self.former_fingerprints)

    @property
    def classes(self) -> int:
        """Number of classes; 0 when the set is unlabelled."""
        return len(self.class_names)

    @property
    def label_counts(self) -> np.ndarray:
        """int64 [classes]: how many items (mirrored ones included) each class has."""
        return self._class_counts * (2 if self.mirror else 1)

    @abstractmethod
    def read(self, index: int) -> np.ndarray:
        """Pixels uint8 [C, H, W] of picture `index`, not mirrored. ValueError when the picture cannot be decoded."""

    @abstractmethod
    def label(self, index: int) -> int:
        """Class of picture `index`."""

    @abstractmethod
    def examples(self, label: int) -> np.ndarray:
        """Indices of pictures of a class: of all, or of as many as are quickly found; at least one where there is one.

        In an unlabelled set all pictures are of class 0.
        """

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
    """A set that knows the class of every picture: `labels`, int64 [pictures]."""

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
