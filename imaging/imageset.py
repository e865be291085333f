"""What every set of training pictures offers, wherever its pixels come from."""

from abc import ABC, abstractmethod

import numpy as np
from torch.utils.data import Dataset

from imaging.labels import Labels


class ImageSet(Dataset[tuple[np.ndarray, int]], ABC):
    """Pictures of one size and their classes. Item i is (uint8 pixels [C, H, W], class); unlabelled pictures say 0.

    With `mirror` the set is twice as long: its second half is the first half seen in a mirror. Equal fingerprints mean
    the same items in the same order.
    """

    def __init__(
        self, name: str, height: int, width: int, channels: int, labels: Labels, mirror: bool, fingerprint: str
    ) -> None:
        self.name = name
        self.height, self.width, self.channels = height, width, channels
        self.labels = labels.values
        self.class_names = labels.class_names
        self.labels_note = labels.note
        self.mirror = mirror
        self.fingerprint = fingerprint
        self.notes: tuple[str, ...] = ()  # what else a user should know, one sentence each

    @property
    def classes(self) -> int:
        """Number of classes; 0 when the set is unlabelled."""
        return len(self.class_names)

    @property
    def label_counts(self) -> np.ndarray:
        """int64 [classes]: how many items (mirrored ones included) each class has."""
        if not self.classes:
            return np.zeros(0, dtype=np.int64)
        return np.bincount(self.labels, minlength=self.classes).astype(np.int64) * (2 if self.mirror else 1)

    @abstractmethod
    def read(self, index: int) -> np.ndarray:
        """Pixels uint8 [C, H, W] of picture `index`, not mirrored. ValueError when the picture cannot be decoded."""

    def __len__(self) -> int:
        return len(self.labels) * (2 if self.mirror else 1)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of a set of {len(self)}")
        mirrored, picture = divmod(index, len(self.labels))
        pixels = self.read(picture)
        if mirrored:
            pixels = np.ascontiguousarray(pixels[:, :, ::-1])
        return pixels, int(self.labels[picture])
