"""The headers of all pictures of a set, and sums of their content, read once and kept in the cache folder.

Opening a million files takes half an hour on a network disk. So what was found is kept for the next start and for other
processes, for as long as no file's size or time of change differs.
"""

import io
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock
from pydantic import BaseModel, ValidationError
from tqdm import tqdm

from imaging.archive import Archive, FolderArchive
from imaging.picture import Header, read_header
from imaging.shards.store import shard_cache
from imaging.shards.table import CHECKED_BYTES, checksum_of_ends
from system.files import open_replacing

VERSION = 1  # of what is kept
WORTH_KEEPING = 2000  # pictures
WHOLE_BYTES = 2**32  # a set of no more is summed whole; of each picture of a larger one, its parts
PARTS = 16  # of a picture, evenly spread
THREADS, TOGETHER = 8, 1024  # that read files of a folder; files that are read before Ctrl-C is heard

Blame = Callable[[], AbstractContextManager[None]]


class Facts(NamedTuple):
    """What is known of a picture. The sums are CRC-32: of its content, and of its first and last bytes only."""

    header: Header
    content: int
    ends: int


class _Kept(BaseModel):
    key: str
    headers: list[Header]
    facts: list[tuple[int, int, int]]  # number of the header, content, ends


def read_facts(archive: Archive, names: Sequence[str], blame: Blame) -> list[Facts]:
    """The facts of the named pictures, from the cache where they are there.

    `blame` is around the reading of each. ValueError says which picture has no header.
    """
    if len(names) < WORTH_KEEPING:
        return list(_read(archive, names, blame))
    key = _key(archive, names)
    place = sha256(os.fsencode(archive.path.resolve())).hexdigest()[:32]
    kept = shard_cache() / f"headers-{place}.json"
    with ExitStack() as stack:
        # Of several processes one does the work. Where nothing can be kept or locked, each does it.
        with suppress(OSError, NotImplementedError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(kept.with_suffix(".lock")))
        found = _kept(kept, key, len(names))
        if found is None:
            found = list(_read(archive, names, blame))
            _keep(kept, key, found)
    return found


def _read(archive: Archive, names: Sequence[str], blame: Blame) -> Iterator[Facts]:
    whole = sum(archive.sizes[name] for name in names) <= WHOLE_BYTES

    def look(name: str) -> Facts:
        with blame():
            return _facts(archive, name, whole)

    quiet = len(names) < WORTH_KEEPING or not sys.stderr.isatty()
    with tqdm(None, f"checking {archive.path.name}", len(names), leave=False, disable=quiet, unit=" images") as bar:
        for facts in _looked(look, names, THREADS if isinstance(archive, FolderArchive) else 1):
            bar.update()
            yield facts


def _looked(look: Callable[[str], Facts], names: Sequence[str], threads: int) -> Iterator[Facts]:
    if threads == 1:
        yield from map(look, names)
        return
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(names), TOGETHER):
            yield from pool.map(look, names[start : start + TOGETHER])


def _facts(archive: Archive, name: str, whole: bool) -> Facts:
    entry, what = archive.entries[name], f"{name} in {archive.path}"
    if not isinstance(archive, FolderArchive):
        with archive.open(name) as file:
            return Facts(read_header(file, what), entry.checksum, entry.checksum)
    if whole:
        data = archive.read(name)
        return Facts(read_header(io.BytesIO(data), what), zlib.crc32(data), checksum_of_ends(data))
    with archive.open(name) as file:
        header = read_header(file, what)
        last = max(entry.size - CHECKED_BYTES, 0)
        content = ends = 0
        for part in range(PARTS):
            file.seek(last * part // (PARTS - 1))
            data = file.read(CHECKED_BYTES)
            content = zlib.crc32(data, content)
            if part in (0, PARTS - 1):
                ends = zlib.crc32(data, ends)
        return Facts(header, content, ends)


def _key(archive: Archive, names: Sequence[str]) -> str:
    """Changes when a picture does, and the time of change of a ZIP's own file."""
    state = archive.path.stat()
    digest = sha256(json.dumps([VERSION, WHOLE_BYTES]).encode())
    if not isinstance(archive, FolderArchive):
        digest.update(json.dumps([state.st_size, state.st_mtime_ns, state.st_ctime_ns]).encode())
    for name in names:
        digest.update(json.dumps(archive.entries[name]).encode())
    return digest.hexdigest()


def _kept(path: Path, key: str, count: int) -> list[Facts] | None:
    try:
        kept = _Kept.model_validate_json(path.read_bytes())
        if kept.key != key or len(kept.facts) != count:
            return None
        return [Facts(kept.headers[number], content, ends) for number, content, ends in kept.facts]
    except (OSError, ValidationError, IndexError):
        return None


def _keep(path: Path, key: str, found: list[Facts]) -> None:
    numbers: dict[Header, int] = {}
    rows = [(numbers.setdefault(f.header, len(numbers)), f.content, f.ends) for f in found]
    kept = _Kept(key=key, headers=list(numbers), facts=rows)
    with suppress(OSError), open_replacing(path) as file:  # a full or read-only disk: it is found out again
        file.write(kept.model_dump_json().encode())
