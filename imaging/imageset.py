"""The interface of every set of training images, and the endless shuffles in which images and sharded images are shown.

Every epoch is a new permutation. The item at position p is a pure function of the seed, p and the number of items (in
each shard), so a position is enough to resume a run. The permutations come from numpy's RandomState, whose stream is
frozen: the order is the same on every machine and version.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from imaging.labels import Labels
from imaging.sizes import spell
from imaging.transforms import NAMES, richest

WINDOW = 16  # shards; another number would change the order of samples of every run
OF_SHARDS, OF_SAMPLES, OF_WINDOWS = 1, 2, 3  # purposes of the random orders of shards


def _permuted(key: tuple[int, ...], count: int) -> np.ndarray:
    words = [half for number in key for half in (number & 0xFFFFFFFF, number >> 32)]
    return np.random.RandomState(words).permutation(count)


_of_images = lru_cache(maxsize=2)(_permuted)  # a batch may reach into the next epoch
_permutation = lru_cache(maxsize=2 * WINDOW + 2)(_permuted)


def index_at(seed: int, position: int, count: int) -> int:
    """Index (0..count-1) of the image shown at `position` (0, 1, 2, ...) of the endless shuffle."""
    epoch, place = divmod(position, count)
    return int(_of_images((seed, epoch), count)[place])


class Classes(NamedTuple):
    """The classes of a set; no names if it is unlabeled."""

    names: tuple[str, ...]
    counts: np.ndarray  # int64 [classes]: images in each
    note: str  # one sentence on where the labels come from


class Latent(BaseModel):
    """What latents stand for: pictures of this size. Networks see (latent - shift) * scale."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    height: int = Field(ge=1, le=2**16)
    width: int = Field(ge=1, le=2**16)
    channels: Literal[1, 3, 4]
    scale: float = Field(gt=0, allow_inf_nan=False)
    shift: float = Field(0.0, allow_inf_nan=False)


class Decoder(Protocol):
    """What turns latents into pictures. Decoders of equal `identity` give equal pictures."""

    identity: str

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents as networks see them [N, C, H, W] -> images in about [-1, 1]."""
        ...


class ImageSet(ABC):
    """Images of one size and their classes. Item i is (uint8 pixels [C, H, W], class); the class is 0 without labels.

    With `mirror` the set is twice as long: its second half is the first half mirrored left to right. Sets with equal
    fingerprints have the same items in the same order.
    """

    former_fingerprints: tuple[str, ...] = ()  # that earlier versions of this program gave the same items
    notes: tuple[str, ...] = ()  # what else a user should know, one sentence each
    latent: Latent | None = None  # of a set of latents
    decoder: Decoder | None = None  # with which a set of latents shows pictures

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

    def fault(self, index: int) -> str:
        """Why image `index` cannot be decoded; "" if it can."""
        try:
            self.read(index)
        except ValueError as error:
            return str(error)
        return ""

    def read_mirrored(self, index: int) -> np.ndarray:
        """As `read`, mirrored left to right."""
        return np.ascontiguousarray(self.read(index)[:, :, ::-1])

    def picture(self, index: int) -> np.ndarray:
        """Item `index` as people and metrics see it: uint8 pixels [C, H, W]."""
        return self[index][0]

    def held_out(self, number: int) -> np.ndarray:
        """A picture to judge a run by; not one of the items, where a set holds some out."""
        return self.picture(number % self.count)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a `picture`."""
        return self.height, self.width

    @property
    def shown(self) -> str:
        """A fingerprint of the pictures."""
        return self.fingerprint

    @abstractmethod
    def label(self, index: int) -> int:
        """Class of image `index`."""

    @abstractmethod
    def examples(self, label: int) -> np.ndarray:
        """Indices of images of a class (0 if unlabeled): all, or some that are found quickly; one if there is one."""

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
        return (self.read_mirrored if mirrored else self.read)(picture), self.label(picture)


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


class Place(NamedTuple):
    """The sample at a position of the shuffle."""

    epoch: int
    window: int
    shard: int
    sample: int  # in the shard


class ShardOrder:
    """The order of all samples of some shards.

    Every epoch puts the shards in a random order, and the samples of each shard in another, cut into W = 16 parts (or
    as many as there are shards). An epoch is a row of windows, as many as there are shards: window t holds part k of
    shard t - k, for k = 0 .. W - 1, wrapping around at the ends, in one more random order. Memory holds the orders of W
    shards and of a window, and three numbers for every shard.
    """

    def __init__(self, counts: Sequence[int] | np.ndarray, seed: int) -> None:
        """`counts`: samples in each shard, all at least 1."""
        self.counts = np.asarray(counts, dtype=np.int64)
        self.seed = seed
        self.total = int(self.counts.sum())
        self.width = min(WINDOW, len(self.counts))
        self._epoch, self._ends, self._row = -1, self.counts, self.counts  # of the last epoch asked for

    def at(self, position: int) -> Place:
        """The sample shown at `position` (0, 1, 2, ...)."""
        epoch, place = divmod(position, self.total)
        self._enter(epoch)
        window = int(np.searchsorted(self._ends, place, side="right"))
        begin = int(self._ends[window - 1]) if window else 0
        size = int(self._ends[window]) - begin
        rest = int(_permutation((self.seed, epoch, OF_WINDOWS, window), size)[place - begin])
        for part, shard in enumerate(self.shards_of(epoch, window)):
            count = int(self.counts[shard])
            first, last = count * part // self.width, count * (part + 1) // self.width
            if rest < last - first:
                order = _permutation((self.seed, epoch, OF_SAMPLES, shard), count)
                return Place(epoch, window, shard, int(order[first + rest]))
            rest -= last - first
        raise AssertionError("a window is the sum of its parts")

    def shards_of(self, epoch: int, window: int) -> list[int]:
        """The shards of a window, the one that enters with it first. Windows continue in the next epoch."""
        epoch, window = epoch + window // len(self.counts), window % len(self.counts)
        self._enter(epoch)
        return [int(self._row[(window - part) % len(self._row)]) for part in range(self.width)]

    def _enter(self, epoch: int) -> None:
        """Compute the order of an epoch's shards, and where its windows end."""
        if epoch == self._epoch:
            return
        self._epoch, self._row = epoch, _permuted((self.seed, epoch, OF_SHARDS), len(self.counts))
        counts = self.counts[self._row]
        sizes = np.zeros_like(counts)
        for part in range(self.width):
            sizes += np.roll(counts * (part + 1) // self.width - counts * part // self.width, part)
        self._ends = np.cumsum(sizes)


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
