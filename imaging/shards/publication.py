"""Brings finished shards to their places, so that a run that is killed half-way can go on.

The index comes first: from then on a set some of whose shards are missing is known to be incomplete. Before anything is
moved, names, sizes and times of all files are written down: a file of that name, size and time is one of ours.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imaging.shards.layout import Layout, complete
from imaging.shards.row import Index, Row

RECORD = "publication.json"
INDEX, SOURCES = "index", "sources"  # what the files are called beside the shards, which are called by their numbers


class Move(NamedTuple):
    """A file in the making, where it goes, and what tells it from another file there."""

    made: Path
    to: Path
    bytes: int
    changed: int  # ns

    def is_done(self) -> bool:
        """Whether the file is at its place."""
        try:
            state = self.to.lstat()
        except FileNotFoundError:
            return False
        return (state.st_size, state.st_mtime_ns) == (self.bytes, self.changed)


def begin(folder: Path, layout: Layout, rows: Sequence[Row], about: dict[str, Any], sources: Iterable[bytes]) -> None:
    """Write down what `finish` is to do: the finished shards lie in `folder` under their numbers.

    Args:
        about: further keys of the index.
        sources: a table of where the pictures are from, in pieces; none is written of an empty one.
    """
    complete(folder / INDEX, [Index(shards=tuple(rows), **about).to_json()])
    complete(folder / SOURCES, sources)
    names = [INDEX, *([SOURCES] if (folder / SOURCES).stat().st_size else []), *map(str, range(len(rows)))]
    states = {name: (folder / name).stat() for name in names}
    record = [[name, state.st_size, state.st_mtime_ns] for name, state in states.items()]
    complete(folder / f"{RECORD}.new", [json.dumps(record).encode()])
    (folder / f"{RECORD}.new").replace(folder / RECORD)


def begun(folder: Path, layout: Layout) -> list[Move]:
    """What was written down in `folder`; nothing where no publication was begun."""
    try:
        record = json.loads((folder / RECORD).read_bytes())
        return [Move(folder / name, _place(name, layout), size, changed) for name, size, changed in record]
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, IndexError):
        return []


def finish(folder: Path, layout: Layout) -> None:
    """Move what has not been moved yet."""
    for move in begun(folder, layout):
        if not move.is_done():
            move.made.replace(move.to)


def done(folder: Path, layout: Layout) -> list[Path]:
    """The files of an unfinished publication that are at their places."""
    return [move.to for move in begun(folder, layout) if move.is_done()]


def _place(name: str, layout: Layout) -> Path:
    """Where a file goes: nowhere but to where the shards are to be, whatever the record says."""
    return {INDEX: layout.index, SOURCES: layout.sources}.get(name) or layout.path(int(name))
