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
from typing import NamedTuple

from filelock import FileLock
from pydantic import BaseModel, ValidationError
from tqdm import tqdm

from imaging.archive import Archive, FolderArchive
from imaging.picture import Header, read_header
from imaging.shards.store import shard_cache
from imaging.shards.table import CHECKED_BYTES, checksum_of_ends
from system.files import open_replacing

VERSION = 1  # of the cached file
WORTH_KEEPING = 2000  # images
WHOLE_BYTES = 2**32  # larger sets are summed by parts of each image
PARTS = 16  # of an image, evenly spread
THREADS, TOGETHER = 8, 1024  # that read files of a folder; files between two chances for Ctrl-C

Blame = Callable[[], AbstractContextManager[None]]


class Facts(NamedTuple):
    """What is known of an image. `content` and `ends` are CRC-32 of its content, and of its first and last bytes."""

    header: Header
    content: int
    ends: int


class _Kept(BaseModel):
    key: str
    headers: list[Header]
    facts: list[tuple[int, int, int]]  # number of the header, content, ends


def read_facts(archive: Archive, names: Sequence[str], blame: Blame) -> list[Facts]:
    """The facts of the named images, from the cache if possible.

    `blame` is entered around the reading of each. ValueError says which image has no header.
    """
    if len(names) < WORTH_KEEPING:
        return list(_read(archive, names, blame))
    key = _key(archive, names)
    kept = shard_cache() / f"headers-{sha256(os.fsencode(archive.path.resolve())).hexdigest()[:32]}.json"
    with ExitStack() as stack:
        # One of several processes does the work; each does, if nothing can be written or locked.
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

    def looked() -> Iterator[Facts]:
        if not isinstance(archive, FolderArchive):
            yield from map(look, names)
            return
        with ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, len(names), TOGETHER):
                yield from pool.map(look, names[start : start + TOGETHER])

    quiet = len(names) < WORTH_KEEPING or not sys.stderr.isatty()
    title = f"checking {archive.path.name}"
    yield from tqdm(looked(), title, len(names), leave=False, disable=quiet, unit=" images")


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
    """Changes if an image does, or the time of a ZIP's own file."""
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
    with suppress(OSError), open_replacing(path) as file:  # without room the next start reads again
        file.write(kept.model_dump_json().encode())
