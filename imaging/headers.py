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
from contextlib import AbstractContextManager
from hashlib import sha256
from typing import BinaryIO, NamedTuple

from pydantic import TypeAdapter
from tqdm import tqdm

from imaging.archive import Archive, FolderArchive
from imaging.cachefile import cached, shard_cache
from imaging.picture import Header, read_header

VERSION = 3  # of the cached file
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


_KEPT = TypeAdapter(tuple[str, list[HeaderFacts]])  # the content of the cached file: a key, and the facts


def read_facts(archive: Archive, names: Sequence[str], blame: Blame) -> list[HeaderFacts]:
    """The facts of the named images, from the cache if possible.

    `blame` is entered around the reading of each. ValueError says which image has no header.
    """
    if len(names) < MANY:
        return list(_read(archive, names, blame))
    key, title = _key(archive, names), f"checking {archive.path.name}"

    def load(data: bytes) -> list[HeaderFacts]:
        known_by, facts = _KEPT.validate_json(data)
        if known_by != key or len(facts) != len(names):
            raise ValueError("of other images")
        return facts

    def make() -> list[HeaderFacts]:
        quiet = not sys.stderr.isatty()
        return list(tqdm(_read(archive, names, blame), title, len(names), leave=False, disable=quiet, unit=" images"))

    path = shard_cache() / f"headers-{sha256(os.fsencode(archive.path.resolve())).hexdigest()[:32]}.json"
    return cached(path, load, make, lambda facts: _KEPT.dump_json((key, facts)))


def _read(archive: Archive, names: Sequence[str], blame: Blame) -> Iterator[HeaderFacts]:
    whole = sum(archive.entries[name].size for name in names) <= WHOLE_BYTES

    def look(name: str) -> HeaderFacts:
        with blame():
            return _facts(archive, name, whole)

    if not isinstance(archive, FolderArchive):
        yield from map(look, names)
        return
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(names), TOGETHER):
            yield from pool.map(look, names[start : start + TOGETHER])


def _facts(archive: Archive, name: str, whole: bool) -> HeaderFacts:
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
