"""The contents of each shard: its number of samples, their classes, sizes and modes.

It comes from `PREFIX-index.json`, which the writer of shards leaves beside them. Without it all headers are read once,
and the result is kept in the cache folder.
"""

import io
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from fnmatch import fnmatchcase
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from filelock import FileLock
from pydantic import ValidationError
from tqdm import tqdm

from imaging.opening import open_file
from imaging.parallel import ordered
from imaging.picture import Header, read_header
from imaging.shards.opening import keep_table
from imaging.shards.pattern import Shard, expand, has_wildcards, listed, prefix
from imaging.shards.remote import displayed, facts, fetch, is_remote, without_file_scheme
from imaging.shards.row import Index, Row
from imaging.shards.store import THREADS, Store
from imaging.shards.table import UNLABELED, Member, Table, read_table
from imaging.sizes import spell
from system.files import open_replacing
from system.resources import cores
from system.text import printable

LARGEST_INDEX = 2**28  # bytes
WORTH_PROCESSES = 2**28  # bytes of shards that take longer to read than processes take to start
ENOUGH = 2**16  # bytes of an image that nearly always contain its header


def read_index(pattern: str, shards: Sequence[Shard], labeled: bool, store: Store) -> tuple[Index, str]:
    """The index of these shards, and a sentence for the user, or "".

    ValueError says which shard or sample is wrong, and what to do.
    """
    index, note = read_beside(pattern, shards)
    if index is not None:
        return index, note
    kept = store.folder / f"index-{_identity(shards, labeled)}.json"
    with ExitStack() as stack:
        # One of several processes does the work; each does, if nothing can be written or locked.
        with suppress(OSError, NotImplementedError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(kept.with_suffix(".lock")))
        with suppress(OSError, ValidationError):
            return Index.read(kept.read_bytes()), note
        index = _scan(shards, labeled, store)
        with suppress(OSError), open_replacing(kept) as file:
            file.write(index.to_json())
    return index, note


def read_beside(pattern: str, shards: Sequence[Shard]) -> tuple[Index | None, str]:
    """The index beside the shards if it fits them; otherwise None, and why it is ignored.

    ValueError if it lists shards that match the wildcards of `pattern` but do not exist: the set is incomplete.
    """
    url = without_file_scheme(f"{prefix(pattern)}-index.json")
    name = displayed(url.rpartition("/")[2])
    if "/" not in url and not url.removesuffix("-index.json"):
        return None, ""
    try:
        data = _contents(url)
        if data is None:
            return None, ""
        index = Index.read(data)
    except ValidationError as error:
        what = printable(error.errors(include_input=False, include_context=False, include_url=False)[0]["msg"], 80)
        return None, f"{name} is ignored: not an index of shards ({what})"
    except ValueError as error:
        return None, f"{name} is ignored: {error}"
    rows = {row.name: row for row in index.shards}
    _check_complete(pattern, name, rows, shards)
    if any(shard.name not in rows or rows[shard.name].bytes != shard.bytes for shard in shards):
        return None, f"{name} is ignored: it does not fit the shards"
    return index.model_copy(update={"shards": tuple(rows[shard.name] for shard in shards)}), ""


def _check_complete(pattern: str, name: str, rows: Iterable[str], shards: Sequence[Shard]) -> None:
    folder, _, last = pattern.rpartition("/")
    if not has_wildcards(last) or has_wildcards(folder) or "{" in folder:
        return
    there, meant = {shard.name for shard in shards}, expand(listed(last))
    missing = [row for row in rows if row not in there and any(fnmatchcase(row, each) for each in meant)]
    if missing:
        raise ValueError(
            f"{displayed(missing[0])} is missing ({len(missing)} of the {len(missing) + len(there)} shards that {name} "
            f"lists are): restore it, or repeat the command that wrote the shards; to use a part of the set, name its "
            f"shards, as in x-{{0000..0007}}.tar"
        )


def _contents(url: str) -> bytes | None:
    """A small file, local or remote; None if there is none. ValueError if it is too large, or not a file."""
    if is_remote(url):
        with TemporaryDirectory() as folder, suppress(ValueError, FileNotFoundError):
            # Servers refuse missing files in many ways, and shards can be read without an index.
            if (found := facts(url)) is not None and found[0] <= LARGEST_INDEX:
                fetch(url, Path(folder) / "index", found[0])
                return (Path(folder) / "index").read_bytes()
        return None
    if not Path(url).exists():
        return None
    with open_file(Path(url)) as file:
        data = file.read(LARGEST_INDEX + 1)
    if len(data) > LARGEST_INDEX:
        raise ValueError(f"it has more than {LARGEST_INDEX} bytes")
    return data


def _identity(shards: Sequence[Shard], labeled: bool) -> str:
    urls = [str(Path(shard.url).resolve()) if shard.is_local else shard.url for shard in shards]
    facts = [[url, shard.bytes, shard.mark] for url, shard in zip(urls, shards, strict=True)]
    return sha256(json.dumps([Index.model_fields["format"].default, labeled, facts]).encode()).hexdigest()[:32]


def _scan(shards: Sequence[Shard], labeled: bool, store: Store) -> Index:
    """Read every shard once: a small set with threads, a large one with processes on all cores."""
    look = partial(scan_shard, labeled=labeled, store=store)
    large = sum(shard.bytes for shard in shards) >= WORTH_PROCESSES
    with ThreadPoolExecutor(THREADS) as pool:
        rows = ordered(look, shards, cores(), 1, fork=False) if large else pool.map(look, shards)
        quiet = not large or not sys.stderr.isatty()
        shown = tqdm(rows, "reading shards", len(shards), leave=False, disable=quiet, unit=" shards")
        return Index(shards=tuple(shown))


def scan_shard(shard: Shard, labeled: bool, store: Store) -> Row:
    """Read every header of a shard: those of the tar and of each image."""
    with store.open(shard) as file:
        row, table = describe(file, shard, labeled)
    keep_table(shard, table, labeled, store)
    return row


def describe(file: BinaryIO, shard: Shard, labeled: bool) -> tuple[Row, Table]:
    """What is in the file of a shard."""
    sizes: Counter[str] = Counter()
    modes: Counter[str] = Counter()

    def look(picture: Member) -> None:
        header = header_of(file, picture, shard.displayed)
        sizes[spell(header.height, header.width)] += 1
        modes[header.mode] += 1

    table = read_table(file, shard.displayed, labeled, look)
    labels = Counter(table.labels.tolist())
    if 0 < labels[UNLABELED] < len(table.labels):
        raise ValueError(
            f"{shard.displayed} has labels for {len(table.labels) - labels[UNLABELED]} of its {len(table.labels)} "
            f"samples: label all of them, or use --labels none"
        )
    classes = None if labels[UNLABELED] else dict(sorted(labels.items()))
    values: dict[str, Any] = {"labels": classes, "sizes": sizes, "modes": modes, "digest": table.digest}
    return Row(name=shard.name, bytes=shard.bytes, samples=len(table.labels), **values), table


def header_of(file: BinaryIO, picture: Member, shard: str) -> Header:
    """Size and mode of an image in a shard."""
    what = f"{picture.name} in {shard}"
    file.seek(picture.offset)
    start = file.read(min(picture.size, ENOUGH))
    try:
        return read_header(io.BytesIO(start), what)
    except ValueError:
        if len(start) == picture.size:
            raise
    return read_header(io.BytesIO(start + file.read(picture.size - len(start))), what)
