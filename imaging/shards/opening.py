"""A shard opened for reading. Its table is kept in the cache, so that others need not read all headers."""

import contextlib
import os
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from imaging.shards.pattern import Shard
from imaging.shards.row import Row
from imaging.shards.store import Store
from imaging.shards.table import Table, read_table
from system.files import open_replacing
from system.untrusted import load_array


class OpenedShards(NamedTuple):
    """The file of a shard, and its table."""

    file: BinaryIO
    table: Table


class ChangedError(ValueError):
    """The shard is not the one that its index describes."""


def open_shard(shard: Shard, row: Row, labeled: bool, store: Store) -> OpenedShards:
    """Open a shard that `row` of its index describes.

    ValueError says why it cannot be read; ChangedError that it is another shard.
    """
    file = store.open(shard)
    try:
        table = _read_kept(shard, row, labeled, store) if _is_as_found(file, shard) else None
        if table is None:
            table = read_table(file, shard.displayed, labeled)
            if not _fits(table, row, labeled):
                raise ChangedError(shard.displayed)
            keep_table(shard, table, labeled, store)
    except BaseException:
        file.close()
        raise
    return OpenedShards(file, table)


def keep_table(shard: Shard, table: Table, labeled: bool, store: Store) -> None:
    """Keep a table for other processes. If it cannot be written, they read the headers themselves."""
    with contextlib.suppress(OSError), open_replacing(_place(shard, table.digest, labeled, store)) as file:
        np.save(file, np.stack([table.offsets, table.sizes, table.labels]), allow_pickle=False)


def _read_kept(shard: Shard, row: Row, labeled: bool, store: Store) -> Table | None:
    """A kept table; None if there is none, or it does not fit."""
    try:
        offsets, sizes, labels = load_array(_place(shard, row.digest, labeled, store)).astype(np.int64, casting="no")
        table = Table(offsets, sizes, labels, row.digest)
        return table if _fits(table, row, labeled) else None
    except (OSError, ValueError, TypeError):
        return None


def _is_as_found(file: BinaryIO, shard: Shard) -> bool:
    """Whether a shard is still the one that was found when the set was opened. Names of copies guarantee it."""
    state = os.fstat(file.fileno())
    return not shard.is_local or (state.st_size, str(state.st_mtime_ns)) == (shard.bytes, shard.mark)


def _fits(table: Table, row: Row, labeled: bool) -> bool:
    """Whether a table is that of the shard that the index describes."""
    labels = dict(Counter(table.labels.tolist())) if labeled and row.labels is not None else row.labels
    return table.digest == row.digest and len(table.labels) == row.samples and labels == row.labels


def _place(shard: Shard, digest: str, labeled: bool, store: Store) -> Path:
    identity = sha256(f"{shard.url} {shard.mark} {digest} {labeled} 3".encode(errors="backslashreplace")).hexdigest()
    return store.folder / f"table-{identity[:32]}.npy"
