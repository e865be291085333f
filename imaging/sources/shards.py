"""WebDataset shards, local or remote: `x-{0000..0009}.tar`, `x-*.tar`, or one tar with a .cls for each image."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from imaging.labels import Labels, without
from imaging.picture import Header
from imaging.shards.index import find_shards, names_of_classes, read_beside
from imaging.shards.store import Shard, Store
from imaging.shards.table import UNLABELED, Member, header_of, label_of, samples
from imaging.sources.source import Source


class ShardSource(Source):
    """The images of some shards; .cls and .json files give the labels."""

    kind = "shards"

    def __init__(self, pattern: str) -> None:
        self.shards = find_shards(pattern)
        self.store = Store(self.shards, 1)
        self._index, note = read_beside(pattern, self.shards, self.store)
        names, starts, places = list[str](), list[int](), list[tuple[int, int]]()
        for shard in self.shards:
            starts.append(len(names))
            with self.store.open(shard) as file:
                for picture, _ in samples(file, shard.displayed):
                    names.append(f"{shard.name}/{picture.name}")
                    places.append((picture.offset, picture.size))
        self._starts, self._places = np.array(starts), np.array(places)
        super().__init__(Path(pattern), names)
        self.notes += filter(None, [note])

    def read(self, index: int) -> bytes:
        offset, size = self._places[index].tolist()
        with self.store.open(self._shard(index)) as file:
            file.seek(offset)
            return file.read(size)

    def header_of(self, index: int) -> Header:
        shard, (key, _, kind) = self._shard(index), self.names[index].rpartition(".")
        with self.store.open(shard) as file:
            return header_of(file, Member(key, kind, *self._places[index].tolist()), shard.displayed)

    def labels(self) -> Labels:
        values = np.fromiter(self._labels(), np.int64, len(self.names))
        unlabeled = (values == UNLABELED).nonzero()[0]
        if len(unlabeled) == len(values):
            return without(len(values), "the set is unlabeled, since it has no .cls files")
        if len(unlabeled):
            raise ValueError(
                f"{self.names[unlabeled[0]]} has no label, but others have: label all images, or use --labels none"
            )
        return Labels(values, names_of_classes(self._index, int(values.max()) + 1), "labels from the shards")

    def identity(self) -> str:
        return hashlib.sha256(repr(self.shards).encode()).hexdigest()

    def _labels(self) -> Iterator[int]:
        for shard in self.shards:
            with self.store.open(shard) as file:
                for _, about in samples(file, shard.displayed):
                    yield label_of(file, about, shard.displayed)

    def _shard(self, index: int) -> Shard:
        return self.shards[int(np.searchsorted(self._starts, index, side="right")) - 1]
