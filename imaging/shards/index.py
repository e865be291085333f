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
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tqdm import tqdm

from imaging.picture import Header, read_header
from imaging.shards.opening import keep_table, open_file
from imaging.shards.pattern import Shard, filesystem, prefix, reaching, reason
from imaging.shards.store import THREADS, Store
from imaging.shards.table import UNLABELLED, Member, Table, read_table
from imaging.sizes import spell
from system.files import open_replacing

WORTH_PROCESSES = 2**28  # bytes of shards that one process reads in about the time that others take to start
ENOUGH = 2**16  # bytes of a picture in which its header nearly always lies


class Row(BaseModel):
    """A shard. `labels`: class -> samples, None when unlabelled or not asked; `sizes`: "96x64" -> samples; `modes`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    bytes: int = Field(ge=0)
    samples: int = Field(ge=1)
    digest: str
    labels: dict[int, int] | None
    sizes: dict[str, int] = Field(min_length=1)
    modes: dict[Literal["L", "RGB", "RGBA"], int] = Field(min_length=1)


class Index(BaseModel):
    """The shards of a set, in its order. Keys that are not known here are kept for whoever knows them."""

    model_config = ConfigDict(frozen=True, extra="allow")

    format: Literal["shards 1"] = "shards 1"
    class_names: tuple[str, ...] | None = None
    shards: tuple[Row, ...]


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
    except OSError as error:
        problem = f"{store.folder} cannot be written to ({reason(error)})"
        note = f"{problem}: what the shards hold has to be found out every time; SHARD_CACHE names another folder"
        index = _scan(shards, labelled, store)
    return index, note


def read_beside(pattern: str, shards: Sequence[Shard]) -> tuple[Index | None, str]:
    """The index that the writer left, where it has all shards and fits them."""
    url = f"{prefix(pattern)}-index.json"
    if "/" not in url and not url.removesuffix("-index.json"):
        return None, ""
    data = _contents(url)
    if data is None:
        return None, ""
    name = url.rpartition("/")[2]
    try:
        index = Index.model_validate_json(data)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "it"
        return None, f"{name} was passed over, as it is no index of shards ({where}: {error.errors()[0]['msg']})"
    rows = {row.name: row for row in index.shards}
    for shard in shards:
        if shard.name not in rows or rows[shard.name].bytes != shard.bytes:
            return None, f"{name} was passed over, as it does not fit {shard.name}"
    if len({shard.name for shard in shards}) < len(shards):
        return None, f"{name} was passed over, as several of the shards have one name"
    return index.model_copy(update={"shards": tuple(rows[shard.name] for shard in shards)}), ""


def _contents(url: str) -> bytes | None:
    """A small file, here or elsewhere; None where there is none."""
    try:
        if "://" not in url:
            return Path(url).read_bytes()
        fs, path = filesystem(url)
        with reaching(url):
            return fs.cat_file(path)
    except FileNotFoundError:
        return None
    except ValueError:
        return None  # servers refuse what is not there in many ways, and the shards tell what they hold themselves


def _identity(shards: Sequence[Shard], labelled: bool) -> str:
    urls = [str(Path(shard.url).resolve()) if shard.is_local else shard.url for shard in shards]
    facts = [[url, shard.bytes, shard.mark] for url, shard in zip(urls, shards, strict=True)]
    return sha256(json.dumps([Index.model_fields["format"].default, labelled, facts]).encode()).hexdigest()[:32]


def _read_kept(path: Path) -> Index | None:
    try:
        return Index.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _scan_and_keep(shards: Sequence[Shard], labelled: bool, store: Store, path: Path) -> Index:
    index = _scan(shards, labelled, store)
    with open_replacing(path) as file:
        file.write(index.model_dump_json().encode())
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
    with open_file(store.path(shard), shard.url) as file:
        row, table = describe(file, shard, labelled)
    keep_table(shard, table, labelled, store)
    return row


def describe(file: BinaryIO, shard: Shard, labelled: bool) -> tuple[Row, Table]:
    """What is in the file of a shard."""
    sizes: Counter[str] = Counter()
    modes: Counter[str] = Counter()

    def look(picture: Member) -> None:
        header = header_of(file, picture, shard.url)
        sizes[spell(header.height, header.width)] += 1
        modes[header.mode] += 1

    table = read_table(file, shard.url, labelled, look)
    labels = Counter(table.labels.tolist())
    if 0 < labels[UNLABELLED] < len(table.labels):
        raise ValueError(
            f"{shard.url} has labels for {len(table.labels) - labels[UNLABELLED]} of its {len(table.labels)} samples: "
            f"label all of them, or use --labels none"
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
