"""Shards as local files: those on this machine, and copies of remote ones in a cache of bounded size.

    SHARD_CACHE       folder of the cache; by default stylegan2/shards in the user's cache folder
    SHARD_CACHE_GB    size limit of the copies; 50 by default

Any number of processes share a cache: one downloads a shard, the others wait. The least recently used copies make room.
"""

import contextlib
import os
import queue
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from imaging.opening import reason
from imaging.shards.pattern import Shard
from imaging.shards.remote import fetch
from system.files import replacing
from system.resources import cache_folder

DEFAULT_GB = 50.0
THREADS = 4  # that download in the background
PAUSES = (1.0, 4.0)  # seconds before a download is tried again


def shard_cache() -> Path:
    """The cache folder of shards: copies, indices and tables."""
    if chosen := os.environ.get("SHARD_CACHE"):
        return Path(os.path.expanduser(chosen))  # noqa: PTH111 (a ~ that stays is no error)
    return cache_folder() / "shards"


def cache_limit() -> int:
    """Bytes that the copies may take. ValueError if SHARD_CACHE_GB is not a number above 0."""
    text = os.environ.get("SHARD_CACHE_GB", str(DEFAULT_GB))
    try:
        limit = int(float(text) * 1e9)
    except (ValueError, OverflowError):
        limit = 0
    if limit <= 0:
        raise ValueError(f"SHARD_CACHE_GB is '{text}': set it to the gigabytes that copies of shards may take")
    return limit


class Store:
    """Gives shards as files.

    The cache must have room for the `together` largest of the `shards`; otherwise ValueError.
    """

    def __init__(self, shards: Sequence[Shard], together: int) -> None:
        remote = sorted((shard.bytes for shard in shards if not shard.is_local), reverse=True)
        self.folder, self.limit = shard_cache(), cache_limit() if remote else 0
        needed = sum(remote[:together])
        if needed > self.limit:
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
        identity = f"{shard.url} {shard.bytes} {shard.mark}".encode(errors="backslashreplace")
        copy = self.folder / f"{sha256(identity).hexdigest()[:32]}.tar"
        if _is_there(copy, shard):
            return copy
        with self._writing(shard):
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(copy.with_suffix(".lock")):
                if not _is_there(copy, shard):
                    self._make_room(shard)
                    self._fetch(shard, copy)
        return copy

    def expect(self, shards: Iterable[Shard]) -> None:
        """Download shards in the background, in this order. Errors appear when a shard is opened."""
        remote = [shard for shard in shards if not shard.is_local]
        if not remote:
            return
        if self._wanted is None or self._owner != os.getpid():  # threads do not survive a fork
            self._wanted, self._owner = queue.Queue(), os.getpid()
            for _ in range(THREADS):
                threading.Thread(target=self._fetch_ahead, args=(self._wanted,), daemon=True).start()
        for shard in remote:
            self._wanted.put(shard)

    def _fetch_ahead(self, wanted: "queue.Queue[Shard]") -> None:
        while True:
            with contextlib.suppress(ValueError, OSError):
                self.path(wanted.get())

    def _make_room(self, shard: Shard) -> None:
        """Remove the least recently used copies until a shard fits."""
        with FileLock(self.folder / "room.lock"):
            copies = []
            for path in self.folder.glob("*.tar"):
                with contextlib.suppress(FileNotFoundError):
                    state = path.stat()
                    copies.append((state.st_mtime, state.st_size, path))
            held = sum(size for _, size, _ in copies)
            for _, size, path in sorted(copies):
                if held + shard.bytes <= self.limit:
                    break
                with contextlib.suppress(OSError):  # some systems keep a file that is being read
                    path.unlink()
                    held -= size
        free = shutil.disk_usage(self.folder).free
        if free < shard.bytes:
            raise ValueError(
                f"{shard.displayed} has {shard.bytes} bytes, but the disk of {self.folder} has {free} left: make room, "
                f"or name another folder with SHARD_CACHE"
            )

    def _fetch(self, shard: Shard, copy: Path) -> None:
        for pause in (*PAUSES, None):
            try:
                with replacing(copy) as temporary:
                    fetch(shard.url, temporary, shard.bytes)
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

    @contextlib.contextmanager
    def _writing(self, shard: Shard) -> Iterator[None]:
        try:
            yield
        except (OSError, NotImplementedError) as error:  # the latter on disks without file locks
            raise ValueError(
                f"{shard.displayed} cannot be kept in {self.folder} ({reason(error)}): make room, or name another "
                f"folder with SHARD_CACHE"
            ) from error

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_wanted": None}


def _is_there(copy: Path, shard: Shard) -> bool:
    try:
        os.utime(copy)  # the time of its last use
        return copy.stat().st_size == shard.bytes
    except FileNotFoundError:
        return False
