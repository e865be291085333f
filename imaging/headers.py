"""The headers and checksums of all images of an archive, read once and kept in the cache folder.

Opening a million files takes half an hour on a network disk. The result is used until a size or time changes.
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
from typing import BinaryIO, NamedTuple

from filelock import FileLock
from pydantic import BaseModel, ValidationError
from tqdm import tqdm

from imaging.archive import Archive, FolderArchive
from imaging.picture import Header, read_header
from imaging.shards.store import shard_cache
from system.files import open_replacing

VERSION = 2  # of the cached file
MANY = 2000  # images that are worth a cache, and whose reading is shown
WHOLE_BYTES = 2**32  # larger sets are summed by parts of each image
PARTS, PART_BYTES = 16, 4096  # of an image, evenly spread
THREADS, TOGETHER = 8, 1024  # that read files of a folder; files between two chances for Ctrl-C

Blame = Callable[[], AbstractContextManager[None]]


class HeaderFacts(NamedTuple):
    """What is known of an image. `content` and `ends` are CRC-32 of its content, and of its first and last bytes."""

    header: Header
    content: int
    ends: int


class _Kept(BaseModel):
    key: str
    headers: list[Header]
    facts: list[tuple[int, int, int]]  # number of the header, content, ends


def read_facts(archive: Archive, names: Sequence[str], blame: Blame) -> list[HeaderFacts]:
    """The facts of the named images, from the cache if possible.

    `blame` is entered around the reading of each. ValueError says which image has no header.
    """
    if len(names) < MANY:
        return _read(archive, names, blame)
    key = _key(archive, names)
    path = shard_cache() / f"headers-{sha256(os.fsencode(archive.path.resolve())).hexdigest()[:32]}.json"
    with ExitStack() as stack:
        # One of several processes does the work; each does, if nothing can be written or locked.
        with suppress(OSError, NotImplementedError):
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(path.with_suffix(".lock")))
        found = _kept(path, key, len(names))
        if found is None:
            found = _read(archive, names, blame)
            _keep(path, key, found)
    return found


def _read(archive: Archive, names: Sequence[str], blame: Blame) -> list[HeaderFacts]:
    whole = sum(archive.sizes[name] for name in names) <= WHOLE_BYTES

    def look(name: str) -> HeaderFacts:
        with blame():
            return _facts(archive, name, whole)

    def looked() -> Iterator[HeaderFacts]:
        if not isinstance(archive, FolderArchive):
            yield from map(look, names)
            return
        with ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, len(names), TOGETHER):
                yield from pool.map(look, names[start : start + TOGETHER])

    quiet = len(names) < MANY or not sys.stderr.isatty()
    title = f"checking {archive.path.name}"
    return list(tqdm(looked(), title, len(names), leave=False, disable=quiet, unit=" images"))


def _facts(archive: Archive, name: str, whole: bool) -> HeaderFacts:
    entry, what = archive.entries[name], f"{name} in {archive.path}"
    if not isinstance(archive, FolderArchive):
        with archive.open(name) as file:
            return HeaderFacts(read_header(file, what), entry.checksum, entry.checksum)
    if whole:
        data = archive.read(name)
        ends = zlib.crc32(data[:PART_BYTES] + data[-PART_BYTES:])
        return HeaderFacts(read_header(io.BytesIO(data), what), zlib.crc32(data), ends)
    with archive.open(name) as file:
        header = read_header(file, what)
        last = max(entry.size - PART_BYTES, 0)
        parts = [_at(file, last * part // (PARTS - 1)) for part in range(PARTS)]
        return HeaderFacts(header, zlib.crc32(b"".join(parts)), zlib.crc32(parts[0] + parts[-1]))


def _at(file: BinaryIO, place: int) -> bytes:
    file.seek(place)
    return file.read(PART_BYTES)


def _key(archive: Archive, names: Sequence[str]) -> str:
    """Changes if an image does, or the time of a ZIP's own file."""
    state = archive.path.stat()
    digest = sha256(json.dumps([VERSION, WHOLE_BYTES]).encode())
    if not isinstance(archive, FolderArchive):
        digest.update(json.dumps([state.st_size, state.st_mtime_ns, state.st_ctime_ns]).encode())
    for name in names:
        digest.update(json.dumps(archive.entries[name]).encode())
    return digest.hexdigest()


def _kept(path: Path, key: str, count: int) -> list[HeaderFacts] | None:
    try:
        kept = _Kept.model_validate_json(path.read_bytes())
        if kept.key != key or len(kept.facts) != count:
            return None
        return [HeaderFacts(kept.headers[number], content, ends) for number, content, ends in kept.facts]
    except (OSError, ValidationError, IndexError):
        return None


def _keep(path: Path, key: str, found: Sequence[HeaderFacts]) -> None:
    numbers: dict[Header, int] = {}
    rows = [(numbers.setdefault(f.header, len(numbers)), f.content, f.ends) for f in found]
    kept = _Kept(key=key, headers=list(numbers), facts=rows)
    with suppress(OSError), open_replacing(path) as file:  # without room the next start reads again
        file.write(kept.model_dump_json().encode())
