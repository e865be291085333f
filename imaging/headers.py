"""What was read once and is kept in the cache folder: here the headers and checksums of all images of an archive.

Opening a million files takes half an hour on a network disk. The result is used until a size or time changes.
"""

import io
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypeVar

from filelock import FileLock
from pydantic import TypeAdapter
from tqdm import tqdm

from imaging.archive import Archive, FolderArchive
from imaging.picture import Header, read_header
from system.files import open_replacing
from system.resources import cache_folder

VERSION = 3  # of the cached file
MANY = 2000  # images that are worth a cache, and whose reading is shown
WHOLE_BYTES = 2**32  # larger sets are summed by parts of each image
PARTS, PART_BYTES = 16, 4096  # of an image, evenly spread
Result = TypeVar("Result")
THREADS, TOGETHER = 8, 1024  # that read files of a folder; files between two chances for Ctrl-C


def shard_cache() -> Path:
    """The cache folder of data sets: copies of shards, and what is in shards, folders and ZIPs."""
    if chosen := os.environ.get("SHARD_CACHE"):
        return Path(os.path.expanduser(chosen))  # noqa: PTH111 (a ~ that stays is no error)
    return cache_folder() / "shards"


def cached(
    path: Path, load: Callable[[bytes], Result], make: Callable[[], Result], dump: Callable[[Result], bytes]
) -> Result:
    """What `load` returns for the content of a file; if that fails, what `make` returns.

    `dump` gives the new content of the file. One of several processes calls `make`; if nothing can be written or
    locked, each does.
    """
    with ExitStack() as stack:
        with suppress(OSError, NotImplementedError):
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(f"{path}.lock"))
        with suppress(OSError, ValueError):
            return load(path.read_bytes())
        found = make()
        with suppress(OSError), open_replacing(path) as file:
            file.write(dump(found))
    return found


class HeaderFacts(NamedTuple):
    """What is known of an image. `content` and `ends` are CRC-32 of its content, and of its first and last bytes."""

    header: Header
    content: int
    ends: int


_KEPT = TypeAdapter(tuple[str, list[HeaderFacts]])  # the content of the cached file: a key, and the facts


def read_facts(archive: Archive, names: Sequence[str]) -> list[HeaderFacts]:
    """The facts of the named images, from the cache if possible. ValueError says which image has no header."""
    if len(names) < MANY:
        return list(_read(archive, names))
    key, title = _key(archive, names), f"checking {archive.path.name}"

    def load(data: bytes) -> list[HeaderFacts]:
        known_by, facts = _KEPT.validate_json(data)
        if known_by != key or len(facts) != len(names):
            raise ValueError("of other images")
        return facts

    def make() -> list[HeaderFacts]:
        quiet = not sys.stderr.isatty()
        return list(tqdm(_read(archive, names), title, len(names), leave=False, disable=quiet, unit=" images"))

    path = shard_cache() / f"headers-{sha256(os.fsencode(archive.path.resolve())).hexdigest()[:32]}.json"
    return cached(path, load, make, lambda facts: _KEPT.dump_json((key, facts)))


def _read(archive: Archive, names: Sequence[str]) -> Iterator[HeaderFacts]:
    whole = sum(archive.entries[name].size for name in names) <= WHOLE_BYTES

    look = partial(_facts, archive, whole)
    if not isinstance(archive, FolderArchive):
        yield from map(look, names)
        return
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(names), TOGETHER):
            yield from pool.map(look, names[start : start + TOGETHER])


def _facts(archive: Archive, whole: bool, name: str) -> HeaderFacts:
    entry, what = archive.entries[name], f"{name} in {archive.path}"
    if whole and isinstance(archive, FolderArchive):
        data = archive.read(name)
        ends = zlib.crc32(data[:PART_BYTES] + data[-PART_BYTES:])
        return HeaderFacts(read_header(io.BytesIO(data), what), zlib.crc32(data), ends)
    with archive.open(name) as file:
        header = read_header(file, what)
        if not isinstance(archive, FolderArchive):
            return HeaderFacts(header, entry.checksum, entry.checksum)
        last = max(entry.size - PART_BYTES, 0)
        parts = []
        for part in range(PARTS):
            file.seek(last * part // (PARTS - 1))
            parts.append(file.read(PART_BYTES))
        return HeaderFacts(header, zlib.crc32(b"".join(parts)), zlib.crc32(parts[0] + parts[-1]))


def _key(archive: Archive, names: Sequence[str]) -> str:
    """Changes if an image does, or the time of a ZIP's own file."""
    state = archive.path.stat()
    digest = sha256(json.dumps([VERSION, WHOLE_BYTES]).encode())
    if not isinstance(archive, FolderArchive):
        digest.update(json.dumps([state.st_size, state.st_mtime_ns, state.st_ctime_ns]).encode())
    for name in names:
        digest.update(json.dumps(archive.entries[name]).encode())
    return digest.hexdigest()
