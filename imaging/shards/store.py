"""Shards as local files: those on this machine, and copies of remote ones in a cache of bounded size.

    SHARD_CACHE       folder of the cache; by default stylegan2/shards in the user's cache folder
    SHARD_CACHE_GB    size limit of the copies; 50 by default

Servers are not trusted: only protocols that speak to the host in the URL are allowed, and a download is cut off once it
exceeds the announced size. Any number of processes share a cache: one downloads a shard, the others wait.
"""

import os
import queue
import shutil
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
from filelock import FileLock
from fsspec.callbacks import Callback

from imaging.headers import shard_cache
from imaging.opening import reason
from system.files import replacing
from system.text import printable, public

PACKAGES = {  # protocol -> the package that fsspec needs for it
    "https": "aiohttp",
    "http": "aiohttp",
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "hf": "huggingface_hub",
}
WEB = ("http", "https")  # in these URLs :: has no meaning
MARKS = ("ETag", "etag", "Last-Modified", "LastModified", "last_modified", "last_commit", "mtime", "updated", "created")
LARGEST = 2**50  # bytes of a file
THREADS = 4  # that download in the background
PAUSES = (1.0, 4.0)  # seconds before a download is tried again


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file. Its mark changes if the file does: the time of its last change, or what its server says instead."""

    url: str  # of a local file, its path
    bytes: int
    mark: str

    @property
    def name(self) -> str:
        """The last part of its address, as an index has it."""
        return listed(self.url.rpartition("/")[2])

    @property
    def displayed(self) -> str:
        """Its address as messages name it."""
        return displayed(self.url)

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine."""
        return not is_remote(self.url)

    def kept(self, folder: Path, ending: str) -> Path:
        """A file about it in a cache folder."""
        address = str(Path(self.url).resolve()) if self.is_local else self.url
        identity = f"{address} {self.bytes} {self.mark}".encode(errors="backslashreplace")
        return folder / f"{sha256(identity).hexdigest()[:32]}{ending}"


def listed(name: str) -> str:
    """The name of a file as UTF-8 text, whatever bytes it has."""
    return name.encode("utf-8", "backslashreplace").decode()


def displayed(url: str) -> str:
    """A URL or path as messages name it: in one line, without a password."""
    return printable(public(url))


def is_remote(url: str) -> bool:
    """Whether `url` is a URL rather than a path on this machine."""
    return "://" in url


def look_at(url: str) -> Shard | None:
    """The file at a path or URL; None if there is none. ValueError for a folder, or a server that does not answer."""
    try:
        if not is_remote(url):
            state = Path(url).stat()
            if not stat.S_ISREG(state.st_mode):
                raise ValueError(f"{displayed(url)} is not a file, and shards are .tar files: correct the pattern")
            return Shard(url, state.st_size, str(state.st_mtime_ns))
        with server(url) as (files, path):
            told = files.info(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    size = told.get("size")
    if type(size) is not int or not 0 <= size <= LARGEST:
        raise ValueError(f"the server of {displayed(url)} does not tell its size: copy the shards to this machine")
    return Shard(url, size, next((str(told[mark]) for mark in MARKS if told.get(mark)), ""))


@contextmanager
def server(url: str) -> Iterator[tuple[Any, str]]:
    """fsspec's file system for a URL, and the path in it. Whatever it raises in the block becomes one sentence.

    ValueError for a protocol that is not in `PACKAGES`, or a chain such as `simplecache::s3://...`. FileNotFoundError
    means a missing file: fsspec also raises it if a server cannot be reached, or refuses.
    """
    kind = url.partition("://")[0]
    if kind not in PACKAGES or ("::" in url and kind not in WEB):
        raise ValueError(
            f"{displayed(url)} cannot be opened: shards are read from this machine or by https://, http://, s3://, "
            f"gs:// and hf://, without chains of protocols (::); correct the address, or copy the shards here"
        )
    try:
        yield (fsspec.filesystem(kind), url) if kind in WEB else fsspec.core.url_to_fs(url)
    except ValueError:
        raise
    except ImportError as error:
        raise ValueError(f"{displayed(url)} needs a missing package: pip install {PACKAGES[kind]}") from error
    except Exception as error:
        cause: BaseException = error
        if isinstance(error, FileNotFoundError):
            cause = error.__cause__ or error
            lost = isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)
            if not lost and getattr(cause, "status", 404) in (404, 410):
                raise
        raise ValueError(
            f"{displayed(url)} cannot be read ({reason(cause)}): check the address and the connection"
        ) from error


class Store:
    """Gives shards as files. ValueError if the cache has no room for the `together` largest of the `shards`."""

    def __init__(self, shards: Sequence[Shard], together: int) -> None:
        remote = sorted((shard.bytes for shard in shards if not shard.is_local), reverse=True)
        self.folder, self.limit, needed = shard_cache(), 0, sum(remote[:together])
        text = os.environ.get("SHARD_CACHE_GB", "50")
        with suppress(ValueError, OverflowError):
            self.limit = int(float(text) * 1e9)
        if remote and self.limit <= 0:
            raise ValueError(f"SHARD_CACHE_GB is '{text}': set it to the gigabytes that copies of shards may take")
        if needed > max(self.limit, 0):
            raise ValueError(
                f"the cache may take {self.limit / 1e9:g} GB, but the {min(together, len(remote))} shards read at a "
                f"time take {needed / 1e9:.3g} GB: set SHARD_CACHE_GB={needed * 1.2 / 1e9:.2g} or more"
            )
        self._wanted: queue.Queue[Shard] | None = None
        self._owner = 0

    def open(self, shard: Shard) -> BinaryIO:
        """The file of a shard. ValueError says why it is unavailable."""
        try:
            return self.path(shard).open("rb")
        except OSError as error:
            raise ValueError(f"{shard.displayed} cannot be read: {reason(error)}; restore it") from error

    def path(self, shard: Shard) -> Path:
        """The path of a shard, downloaded if need be. ValueError says why it is unavailable."""
        if shard.is_local:
            return Path(shard.url)
        copy = shard.kept(self.folder, ".tar")
        try:
            with suppress(FileNotFoundError):
                os.utime(copy)  # the time of its last use
                return copy
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(copy.with_suffix(".lock")):
                if not copy.exists():
                    self._make_room(shard)
                    _download(shard, copy)
        except (OSError, NotImplementedError) as error:  # the latter on disks without file locks
            raise ValueError(
                f"{shard.displayed} cannot be kept in {self.folder} ({reason(error)}): make room, or name another "
                f"folder with SHARD_CACHE"
            ) from error
        return copy

    def expect(self, shards: Iterable[Shard]) -> None:
        """Download shards in the background, in this order. Errors appear when a shard is opened."""
        remote = [shard for shard in shards if not shard.is_local]
        if not remote:
            return

        def fetch_ahead(wanted: queue.Queue[Shard]) -> None:
            while True:
                with suppress(ValueError):
                    self.path(wanted.get())

        if self._wanted is None or self._owner != os.getpid():  # threads do not survive a fork
            self._wanted, self._owner = queue.Queue(), os.getpid()
            for _ in range(THREADS):
                threading.Thread(target=fetch_ahead, args=(self._wanted,), daemon=True).start()
        for shard in remote:
            self._wanted.put(shard)

    def _make_room(self, shard: Shard) -> None:
        """Remove the least recently used copies until a shard fits."""
        with FileLock(self.folder / "room.lock"):
            states = {}
            for path in self.folder.glob("*.tar"):
                with suppress(FileNotFoundError):  # users may empty the folder at any time
                    states[path] = path.stat()
            held = sum(state.st_size for state in states.values())
            for path in sorted(states, key=lambda path: states[path].st_mtime):
                if held + shard.bytes <= self.limit:
                    break
                with suppress(OSError):  # some systems keep a file that is being read
                    path.unlink()
                    held -= states[path].st_size
        free = shutil.disk_usage(self.folder).free
        if free < shard.bytes:
            raise ValueError(
                f"{shard.displayed} has {shard.bytes} bytes, but the disk of {self.folder} has {free} left: make room, "
                f"or name another folder with SHARD_CACHE"
            )

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_wanted": None}


def _download(shard: Shard, copy: Path) -> None:
    def limit(size: int | None, value: int, **more: Any) -> None:
        if max(value, size or 0) > shard.bytes:
            raise ValueError(
                f"{shard.displayed} sends more than the {shard.bytes} bytes announced: check the server, and whether "
                f"the file is being changed"
            )

    for pause in (*PAUSES, None):
        try:
            with replacing(copy) as temporary:
                with server(shard.url) as (files, path):
                    files.get_file(path, str(temporary), callback=Callback(hooks={"limit": limit}))
                if (size := temporary.stat().st_size) != shard.bytes:
                    raise ValueError(
                        f"{shard.displayed} came with {size} of its {shard.bytes} bytes: check the connection, and "
                        f"whether the shard is being changed"
                    )
            return
        except FileNotFoundError as error:
            raise ValueError(f"{shard.displayed} is no longer there: restore it") from error
        except ValueError:
            if pause is None:
                raise
            time.sleep(pause)
