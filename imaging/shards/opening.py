"""A shard opened for reading. Its table is kept in the cache folder, where other processes find it.

A thousand processes that each read all headers would be busy with nothing else.
"""

import contextlib
import os
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from imaging.shards.pattern import Shard, reason
from imaging.shards.store import Store
from imaging.shards.table import Table, read_table
from system.files import open_replacing

COLUMNS = 3  # of a kept table: offset, size, label


class Opened(NamedTuple):
    file: BinaryIO
    table: Table


class ChangedError(ValueError):
    """The shard is another one than its index describes."""


def open_shard(shard: Shard, digest: str, labelled: bool, store: Store) -> Opened:
    """The file of a shard and its table; `digest` is the one that it has in the index.

    ValueError says why it cannot be had; ChangedError that it is not the shard that was meant.
    """
    path = store.path(shard)
    file = open_file(path, shard.url)
    try:
        table = _read_kept(_place(shard, digest, labelled, store), digest) if _is_as_seen(file, shard) else None
        if table is None:
            table = read_table(file, shard.url, labelled)
            if table.digest != digest:
                raise ChangedError(shard.url)
            keep_table(shard, table, labelled, store)
    except BaseException:
        file.close()
        raise
    return Opened(file, table)


def keep_table(shard: Shard, table: Table, labelled: bool, store: Store) -> None:
    """Leaves a table for others. Where that cannot be done, they will read the headers themselves."""
    with contextlib.suppress(OSError), open_replacing(_place(shard, table.digest, labelled, store)) as file:
        np.save(file, np.stack([table.offsets, table.sizes, table.labels]), allow_pickle=False)


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


def _read_kept(path: Path, digest: str) -> Table | None:
    try:
        columns = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if columns.dtype != np.int64 or columns.ndim != 2 or len(columns) != COLUMNS:
        return None
    offsets, sizes, labels = columns
    return Table(offsets, sizes, labels, digest)


def _place(shard: Shard, digest: str, labelled: bool, store: Store) -> Path:
    identity = sha256(f"{shard.url} {shard.mark} {digest} {labelled}".encode()).hexdigest()
    return store.folder / f"table-{identity[:32]}.npy"
