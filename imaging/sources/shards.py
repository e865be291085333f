"""WebDataset shards, local or remote: `x-{0000..0009}.tar`, `x-*.tar`, or one tar with a .cls for each image."""

import hashlib
from pathlib import Path

import numpy as np

from imaging.labels import Labels, without
from imaging.picture import Header
from imaging.shards.index import header_of, read_beside
from imaging.shards.pattern import Shard, find_shards
from imaging.shards.store import Store
from imaging.shards.survey import names_of_classes
from imaging.shards.table import UNLABELED, Member, Table, read_table
from imaging.sources.source import Source


class ShardSource(Source):
    """The images of some shards; .cls and .json files give the labels."""

    kind = "shards"

    def __init__(self, pattern: str) -> None:
        self.shards = find_shards(pattern)
        self._index, note = read_beside(pattern, self.shards)
        self.store = Store(self.shards, 1)
        names: list[str] = []
        tables = [self._table(shard, labeled=False, names=names) for shard in self.shards]
        self._starts = np.cumsum([0] + [len(table.sizes) for table in tables[:-1]])
        self._offsets = np.concatenate([table.offsets for table in tables])
        self._sizes = np.concatenate([table.sizes for table in tables])
        super().__init__(Path(pattern), names)
        self.notes += filter(None, [note])

    def read(self, index: int) -> bytes:
        with self.store.open(self._shard(index)) as file:
            file.seek(int(self._offsets[index]))
            return file.read(int(self._sizes[index]))

    def header_of(self, index: int) -> Header:
        shard, (key, _, kind) = self._shard(index), self.names[index].rpartition(".")
        with self.store.open(shard) as file:
            member = Member(key, kind, int(self._offsets[index]), int(self._sizes[index]))
            return header_of(file, member, shard.displayed)

    def labels(self) -> Labels:
        values = np.concatenate([self._table(shard, labeled=True).labels for shard in self.shards])
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

    def _shard(self, index: int) -> Shard:
        return self.shards[int(np.searchsorted(self._starts, index, side="right")) - 1]

    def _table(self, shard: Shard, labeled: bool, names: list[str] | None = None) -> Table:
        def look(picture: Member) -> None:
            if names is not None:
                names.append(f"{shard.name}/{picture.name}")

        with self.store.open(shard) as file:
            return read_table(file, shard.displayed, labeled, look)
