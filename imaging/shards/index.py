"""What is known of each shard before it is opened: how many samples it has, of which classes, sizes and modes.

It is read from `PREFIX-index.json`, which the writer of shards leaves beside them, or else found out by reading all
headers once, and kept in the cache folder.
"""

import io
import json
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from filelock import FileLock
from pydantic import ValidationError
from tqdm import tqdm

from imaging.picture import Header, read_header
from imaging.shards.opening import keep_table, open_file
from imaging.shards.pattern import Shard, expand, has_wildcards, listed, prefix
from imaging.shards.remote import facts, fetch, is_remote, on_this_machine, reason, shown
from imaging.shards.row import Index, Row
from imaging.shards.store import THREADS, Store
from imaging.shards.table import UNLABELLED, Member, Table, read_table
from imaging.sizes import spell
from system.files import open_replacing
from system.text import printable

LARGEST_INDEX = 2**28  # bytes
WORTH_PROCESSES = 2**28  # bytes of shards that one process reads in about the time that others take to start
ENOUGH = 2**16  # bytes of a picture in which its header nearly always lies


def read_index(pattern: str, shards: Sequence[Shard], labelled: bool, store: Store) -> tuple[Index, str]:
    """The index of these shards, and one sentence where something about it should be known.

    ValueError says which shard or sample is wrong, and what to do.
    """
    index, note = read_beside(pattern, shards)
    if index is not None:
        return index, note
    kept = store.folder / f"index-{_identity(shards, labelled)}.json"
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.with_suffix(".lock")):  # of several processes one does the work
            index = _read_kept(kept) or _scan_and_keep(shards, labelled, store, kept)
    except (OSError, NotImplementedError) as error:  # the latter where files cannot be locked
        problem = f"{store.folder} cannot be written to ({reason(error)})"
        note = f"{problem}: what the shards hold has to be found out every time; SHARD_CACHE names another folder"
        index = _scan(shards, labelled, store)
    return index, note


def read_beside(pattern: str, shards: Sequence[Shard]) -> tuple[Index | None, str]:
    """The index that the writer left, where it has all shards and fits them; else None, and a note why not.

    ValueError when it lists shards that the wildcards of `pattern` mean and that are not there: the set is incomplete.
    """
    url = on_this_machine(f"{prefix(pattern)}-index.json")
    if "/" not in url and not url.removesuffix("-index.json"):
        return None, ""
    try:
        data = _contents(url)
    except ValueError as error:
        return None, f"{shown(url.rpartition('/')[2])} was passed over ({error})"
    if data is None:
        return None, ""
    name = shown(url.rpartition("/")[2])
    try:
        index = Index.read(data)
    except ValidationError as error:
        where, what = (printable(str(part), 80) for part in _first_fault(error))
        return None, f"{name} was passed over, as it is no index of shards ({where}: {what})"
    rows = {row.name: row for row in index.shards}
    _check_complete(pattern, name, rows, shards)
    for shard in shards:
        if shard.name not in rows or rows[shard.name].bytes != shard.bytes:
            return None, f"{name} was passed over, as it does not fit {shown(shard.name)}"
    if len({shard.name for shard in shards}) < len(shards):
        return None, f"{name} was passed over, as several of the shards have one name"
    return index.model_copy(update={"shards": tuple(rows[shard.name] for shard in shards)}), ""


def _first_fault(error: ValidationError) -> tuple[str, str]:
    """Where the first fault is, and which."""
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    return ".".join(map(str, first["loc"])) or "it", first["msg"]


def _check_complete(pattern: str, name: str, rows: Iterable[str], shards: Sequence[Shard]) -> None:
    folder, _, last = pattern.rpartition("/")
    if not has_wildcards(last) or has_wildcards(folder) or "{" in folder:
        return
    there, meant = {shard.name for shard in shards}, expand(listed(last))
    missing = [row for row in rows if row not in there and any(fnmatchcase(row, each) for each in meant)]
    if missing:
        raise ValueError(
            f"{shown(missing[0])} is missing ({len(missing)} of the {len(missing) + len(there)} shards that {name} "
            f"lists are): bring it back, or give the command that was writing them once more; for a part of the set "
            f"name its shards, as in x-{{0000..0007}}.tar"
        )


def _contents(url: str) -> bytes | None:
    """A small file, here or elsewhere; None where there is none. ValueError when it is too large, or no file."""
    try:
        if not is_remote(url):
            if Path(url).exists() and not Path(url).is_file():
                raise ValueError("it is not a file")
            with Path(url).open("rb") as file:
                return _bounded(file)
        with TemporaryDirectory() as folder, suppress(ValueError):
            # Servers refuse what is not there in many ways, and shards tell what they hold themselves.
            if (found := facts(url)) is not None and found[0] <= LARGEST_INDEX:
                fetch(url, Path(folder) / "index", found[0])
                return (Path(folder) / "index").read_bytes()
        return None
    except FileNotFoundError:
        return None


def _bounded(file: BinaryIO) -> bytes:
    data = file.read(LARGEST_INDEX + 1)
    if len(data) > LARGEST_INDEX:
        raise ValueError(f"it has more than {LARGEST_INDEX} bytes")
    return data


def _identity(shards: Sequence[Shard], labelled: bool) -> str:
    urls = [str(Path(shard.url).resolve()) if shard.is_local else shard.url for shard in shards]
    facts = [[url, shard.bytes, shard.mark] for url, shard in zip(urls, shards, strict=True)]
    return sha256(json.dumps([Index.model_fields["format"].default, labelled, facts]).encode()).hexdigest()[:32]


def _read_kept(path: Path) -> Index | None:
    try:
        return Index.read(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _scan_and_keep(shards: Sequence[Shard], labelled: bool, store: Store, path: Path) -> Index:
    index = _scan(shards, labelled, store)
    with open_replacing(path) as file:
        file.write(index.to_json())
    return index


def _scan(shards: Sequence[Shard], labelled: bool, store: Store) -> Index:
    """Reads every shard once, several at a time; a large set on all cores."""
    look = partial(scan_shard, labelled=labelled, store=store)
    total = sum(shard.bytes for shard in shards)
    quiet = total < WORTH_PROCESSES or not sys.stderr.isatty()
    pool = _pool(total)
    try:
        rows = pool.map(look, shards)
        shown = tqdm(rows, "reading shards", len(shards), leave=False, disable=quiet, unit=" shards")
        return Index(shards=tuple(shown))
    except BrokenExecutor as error:
        raise ValueError(
            "a process that read shards was killed, probably for want of memory: try again with less in memory"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(total: int) -> Executor:
    if total < WORTH_PROCESSES:
        return ThreadPoolExecutor(THREADS)
    # Not forked: this process may have threads.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(os.cpu_count(), context, signal.signal, (signal.SIGINT, signal.SIG_IGN))


def scan_shard(shard: Shard, labelled: bool, store: Store) -> Row:
    """Finds out what is in a shard: every header is read, of the tar and of each picture."""
    with open_file(store.path(shard), shard.shown) as file:
        row, table = describe(file, shard, labelled)
    keep_table(shard, table, labelled, store)
    return row


def describe(file: BinaryIO, shard: Shard, labelled: bool) -> tuple[Row, Table]:
    """What is in the file of a shard."""
    sizes: Counter[str] = Counter()
    modes: Counter[str] = Counter()

    def look(picture: Member) -> None:
        header = header_of(file, picture, shard.shown)
        sizes[spell(header.height, header.width)] += 1
        modes[header.mode] += 1

    table = read_table(file, shard.shown, labelled, look)
    labels = Counter(table.labels.tolist())
    if 0 < labels[UNLABELLED] < len(table.labels):
        labelled_ones = len(table.labels) - labels[UNLABELLED]
        raise ValueError(
            f"{shard.shown} has labels for {labelled_ones} of its {len(table.labels)} samples: label all of them, or "
            f"use --labels none"
        )
    classes = None if labels[UNLABELLED] else dict(sorted(labels.items()))
    values: dict[str, Any] = {"labels": classes, "sizes": sizes, "modes": modes, "digest": table.digest}
    return Row(name=shard.name, bytes=shard.bytes, samples=len(table.labels), **values), table


def header_of(file: BinaryIO, picture: Member, shard: str) -> Header:
    """Size and mode of a picture in a shard."""
    what = f"{picture.name} in {shard}"
    file.seek(picture.offset)
    start = file.read(min(picture.size, ENOUGH))
    try:
        return read_header(io.BytesIO(start), what)
    except ValueError:
        if len(start) == picture.size:
            raise
    return read_header(io.BytesIO(start + file.read(picture.size - len(start))), what)
