"""A shard opened for reading. Its table is kept in the cache folder, where other processes find it.

A thousand processes that each read all headers would be busy with nothing else.
"""

import contextlib
import os
import zlib
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from imaging.shards.pattern import Shard
from imaging.shards.remote import reason
from imaging.shards.row import Row
from imaging.shards.store import Store
from imaging.shards.table import Table, read_table
from system.arrays import load_array
from system.files import open_replacing

COLUMNS = 3  # of a kept table: offset, size, label


class Opened(NamedTuple):
    file: BinaryIO
    table: Table


class ChangedError(ValueError):
    """The shard is another one than its index describes."""


def open_shard(shard: Shard, row: Row, labelled: bool, store: Store) -> Opened:
    """The file of a shard and its table; `row` is what its index says of it.

    ValueError says why it cannot be had; ChangedError that it is not the shard that was meant.
    """
    path = store.path(shard)
    file = open_file(path, shard.shown)
    try:
        table = _read_kept(shard, row, labelled, store) if _is_as_seen(file, shard) else None
        if table is None:
            table = read_table(file, shard.shown, labelled)
            if not _fits(table, row, labelled):
                raise ChangedError(shard.shown)
            keep_table(shard, table, labelled, store)
    except BaseException:
        file.close()
        raise
    return Opened(file, table)


def keep_table(shard: Shard, table: Table, labelled: bool, store: Store) -> None:
    """Leaves a table for others. Where that cannot be done, they will read the headers themselves."""
    columns = np.stack([table.offsets, table.sizes, table.labels])
    sealed = np.concatenate([columns, np.full([COLUMNS, 1], zlib.crc32(columns.tobytes()))], axis=1)
    with contextlib.suppress(OSError), open_replacing(_place(shard, table.digest, labelled, store)) as file:
        np.save(file, sealed, allow_pickle=False)


def open_file(path: Path, shard: str) -> BinaryIO:
    """The file of a shard; ValueError names the shard when the system does not give it."""
    try:
        return path.open("rb")
    except OSError as error:
        raise ValueError(f"{shard} cannot be read: {reason(error)}; bring it back") from error


def _is_as_seen(file: BinaryIO, shard: Shard) -> bool:
    """Whether a shard is still the one that was found when the set was opened. Copies are, by their name."""
    state = os.fstat(file.fileno())
    return not shard.is_local or (state.st_size, str(state.st_mtime_ns)) == (shard.bytes, shard.mark)


def _fits(table: Table, row: Row, labelled: bool) -> bool:
    """Whether a table is that of the shard that the index describes."""
    labels = dict(Counter(table.labels.tolist())) if labelled and row.labels is not None else row.labels
    return table.digest == row.digest and len(table.labels) == row.samples and labels == row.labels


def _read_kept(shard: Shard, row: Row, labelled: bool, store: Store) -> Table | None:
    """A table that was kept; None where there is none, or a disk has damaged it."""
    try:
        sealed = load_array(_place(shard, row.digest, labelled, store))
    except (OSError, ValueError):
        return None
    if sealed.dtype != np.int64 or sealed.ndim != 2 or len(sealed) != COLUMNS:
        return None
    columns, seal = np.ascontiguousarray(sealed[:, :-1]), sealed[:, -1:]
    if not (seal == zlib.crc32(columns.tobytes())).all():
        return None
    offsets, sizes, labels = columns
    table = Table(offsets, sizes, labels, row.digest)
    return table if _fits(table, row, labelled) else None


def _place(shard: Shard, digest: str, labelled: bool, store: Store) -> Path:
    identity = sha256(f"{shard.url} {shard.mark} {digest} {labelled}".encode(errors="backslashreplace")).hexdigest()
    return store.folder / f"table-{identity[:32]}.npy"
