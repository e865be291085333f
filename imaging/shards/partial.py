"""Shards that a conversion writes, and that survive the death of its program: see `imaging.partial`."""

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from imaging.partial import PartialArchive, pending
from imaging.partialfolder import PICTURES, place_of
from imaging.shards import publication
from imaging.shards.index import describe
from imaging.shards.layout import Growing, Layout, sample_key
from imaging.shards.pattern import Shard
from imaging.shards.row import Row
from imaging.shards.table import BLOCK
from imaging.writing import Outcome, source_table


class PartialShards(PartialArchive):
    """Writes shards and their index. An interrupted run leaves its part, where there is any, for the next one."""

    def __init__(self, dest: Path, plan: Mapping[str, Any], shard_size: int = 0, restart: bool = False) -> None:
        self.layout = Layout(dest, shard_size)
        self._ends: defaultdict[int, int] = defaultdict(int)  # bytes of each shard that the journal speaks of
        self._earlier: set[int] = set()  # shards that another run began: what it knew of them is forgotten
        self._shards: dict[int, Growing] = {}
        self._unsynced: set[int] = set()
        self._label: int | None = None
        self._publishes = False  # all is written, and some of it is at its place
        super().__init__(dest, plan, restart)

    def __enter__(self) -> Self:
        check_vacant(self.layout)
        return super().__enter__()

    def _begin(self) -> None:
        self._publishes = self._goes_on and bool(publication.begun(self._pictures, self.layout))
        if not self._goes_on and pending(self.dest):
            for path in publication.done(self._pictures, self.layout):
                path.unlink()
        super()._begin()
        if self._publishes:
            return
        for path in self._pictures.iterdir():
            number = int(path.name) if path.name.isdecimal() else -1
            if self._ends.get(number):
                os.truncate(path, self._ends[number])
            else:
                path.unlink()
        self._earlier = {number for number, end in self._ends.items() if end}

    def _cut(self) -> None:
        if self._publishes:  # all is written, and some of it no longer here
            self._written = sum(1 for _ in self._written_lines())
        else:
            super()._cut()

    def _holds(self, crc: int, size: int, outcome: Outcome) -> bool:
        number = self.layout.number(self._written)
        path, end = self._pictures / f"{number}", self._ends[number] + _size(size, outcome.label)
        if not path.exists() or path.stat().st_size < end:
            return False
        self._ends[number], self._written = end, self._written + 1
        return True

    def note(self, outcome: Outcome, data: bytes | None) -> None:
        self._label = outcome.label
        super().note(outcome, data)

    def _write(self, name: str, data: bytes) -> None:
        number = self.layout.number(self._written)
        self._shard(number).append(sample_key(self._written), data, self._label)
        self._unsynced.add(number)

    def _shard(self, number: int) -> Growing:
        if number not in self._shards:
            self._shards[number] = Growing(self._pictures / f"{number}")
        return self._shards[number]

    def _sync(self) -> None:
        for number in self._unsynced:
            with (self._pictures / f"{number}").open("rb+") as shard:
                os.fsync(shard.fileno())
        self._unsynced.clear()
        super()._sync()

    def _finish(self) -> None:
        self.layout.check_count(self._written)
        self._sync()
        if not self._publishes:
            self.layout.check_vacant()
            count = len(self.layout.fixed) or self.layout.number(self._written - 1) + 1
            rows = [self._finished(number) for number in range(count)]
            sources = source_table(self._sources(self._place_of)) if self.names else ()
            publication.begin(self._pictures, self.layout, rows, self.about, sources)
        publication.finish(self._pictures, self.layout)
        self._journal_path.unlink()  # first of all that is left: the set is whole

    def _place_of(self, number: int) -> str:
        return f"{self.layout.path(self.layout.number(number)).name}/{sample_key(number)}.png"

    def _finished(self, number: int) -> Row:
        shard, name = self._shard(number), self.layout.path(number).name
        shard.finish()
        if number not in self._earlier:
            return shard.row(name)
        with shard.path.open("rb") as file:
            whole = Shard(str(shard.path), shard.path.stat().st_size, "")
            return describe(file, whole, labelled=True)[0].model_copy(update={"name": name})


def check_vacant(layout: Layout) -> None:
    """ValueError when a file is where shards are to be that no interrupted run of this destination brought there."""
    dest = Path(layout.dest)
    layout.check_vacant(publication.done(place_of(dest) / PICTURES, layout) if pending(dest) else ())


def _size(picture: int, label: int | None) -> int:
    """Bytes that a sample with a picture of so many bytes takes in a tar."""
    padded = picture + -picture % BLOCK
    return BLOCK + padded + (0 if label is None else 2 * BLOCK)
