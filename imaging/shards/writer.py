"""Writes images as shards, and the index that lets a set open without reading its shards first."""

import filecmp
import os
import tarfile
from pathlib import Path
from typing import Self

from imaging.archivewriter import Writer, source_table
from imaging.opening import BLOCK
from imaging.shards.index import Index
from imaging.shards.pattern import Layout, taken
from imaging.shards.store import Shard
from imaging.shards.table import Row, read_table
from system.files import beside


class ShardWriter(Writer):
    """Writes shards. `Layout` says what `dest` may be. Labels are .cls files."""

    def __init__(self, dest: str | Path, shard_size: int = 0, continues: bool = False) -> None:
        """Raises ValueError if `dest` cannot name shards, or `shard_size` does not apply to it.

        `continues`: a run was perhaps killed while it moved the same shards to their places.
        """
        super().__init__(dest)
        self.layout = Layout(dest, shard_size)
        self.continues = continues
        self._shards = 0

    def __enter__(self) -> Self:
        if not self.continues:
            self.layout.check_vacant()
        self._folder = self._end.enter_context(beside(self.layout.index))
        return self

    def _append(self, data: bytes, label: int | None) -> str:
        key, number = f"{self._count:08d}", self.layout.number(self._count)
        with (self._folder / f"{number}").open("ab") as shard:  # opened anew: thousands cannot be kept open
            if label is not None:
                shard.write(_entry(f"{key}.cls", str(int(label)).encode()))
            shard.write(_entry(f"{key}.png", data))
        self._shards = max(self._shards, number + 1)
        return f"{key}.png"

    def _finish(self) -> None:
        fixed = len(self.layout.fixed)
        if self._count < max(fixed, 1):
            why = f", fewer than the {fixed} shards" if self._count else ""
            raise ValueError(f"{self.dest} would hold {self._count or 'no'} images{why}, and was not written")
        moves = {self._folder / f"{number}": self.layout.path(number) for number in range(self._shards)}
        rows = tuple(_finished(made, to) for made, to in moves.items())
        (self._folder / "index").write_bytes(Index(shards=rows, **self.about).to_json())
        # The index comes first: from then on a set without all of its shards is known to be incomplete.
        first = {self._folder / "index": self.layout.index}
        if self._sources:
            places = (self.layout.path(self.layout.number(i)).name + f"/{i:08d}.png" for i in range(self._count))
            with (self._folder / "sources").open("wb") as file:
                file.writelines(source_table(places, self._sources))
            first[self._folder / "sources"] = self.layout.sources
        if not self.continues:
            self.layout.check_vacant()
        for made, to in (first | moves).items():
            _publish(made, to)


def _entry(name: str, data: bytes) -> bytes:
    """A file as tar has it. No clock and no user: equal input gives equal bytes."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % BLOCK)


def _finished(made: Path, to: Path) -> Row:
    """Write the end of a tar, and return its row of the index."""
    with made.open("ab+") as file:
        file.write(bytes(2 * BLOCK))
        file.flush()
        return read_table(file, Shard(str(to), made.stat().st_size, ""), labeled=True).row


def _publish(made: Path, to: Path) -> None:
    """Move a file to its place, unless an interrupted run has moved it there."""
    if to.exists():
        if not filecmp.cmp(made, to, shallow=False):
            raise taken(to)
        return
    with made.open("rb+") as file:
        os.fsync(file.fileno())
    made.replace(to)
