"""The headers and checksums of all images of an archive."""

import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import BinaryIO, NamedTuple

from tqdm import tqdm

from imaging.archive import Archive, FolderArchive
from imaging.picture import Header, read_header

MANY = 2000  # images whose reading is shown
WHOLE_BYTES = 2**32  # larger sets are summed by parts of each image
PARTS, PART_BYTES = 16, 4096  # of an image, evenly spread
THREADS, TOGETHER = 8, 1024  # that read files of a folder; files between two chances for Ctrl-C

Blame = Callable[[], AbstractContextManager[None]]


class HeaderFacts(NamedTuple):
    """What is known of an image. `content` and `ends` are CRC-32 of its content, and of its first and last bytes."""

    header: Header
    content: int
    ends: int


def read_facts(archive: Archive, names: Sequence[str], blame: Blame) -> list[HeaderFacts]:
    """The facts of the named images.

    `blame` is entered around the reading of each. ValueError says which image has no header.
    """
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
    with archive.open(name) as file:
        header = read_header(file, what)
        if whole:
            data = archive.read(name)
            parts = [data[:PART_BYTES], data[-PART_BYTES:]]
            return HeaderFacts(header, zlib.crc32(data), zlib.crc32(b"".join(parts)))
        last = max(entry.size - PART_BYTES, 0)
        parts = [_at(file, last * part // (PARTS - 1)) for part in range(PARTS)]
        return HeaderFacts(header, zlib.crc32(b"".join(parts)), zlib.crc32(parts[0] + parts[-1]))


def _at(file: BinaryIO, place: int) -> bytes:
    file.seek(place)
    return file.read(PART_BYTES)
