"""Shards on this machine: those that lie here, and copies of those that do not, in a cache of bounded size.

    SHARD_CACHE       folder of the cache; by default stylegan2/shards in the user's cache folder
    SHARD_CACHE_GB    how much it may hold; 50 by default

Any number of processes share a cache: each shard is fetched by one of them, and the others wait. What was not used for
the longest time makes room.
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

from filelock import FileLock, Timeout

from imaging.shards.pattern import Shard
from imaging.shards.remote import fetch, reason
from system.cache import cache_folder
from system.files import replacing

DEFAULT_GB = 50.0
THREADS = 4  # that fetch ahead
PAUSES = (1.0, 4.0)  # seconds before a fetch is tried again
WAIT_SECONDS = 0.1  # for room
ABANDONED_SECONDS = 24 * 3600.0


def shard_cache() -> Path:
    """Where copies of shards, and what was found out about them, are kept."""
    if chosen := os.environ.get("SHARD_CACHE"):
        return Path(os.path.expanduser(chosen))  # noqa: PTH111 (a ~ that stays is no error)
    return cache_folder() / "shards"


def cache_limit() -> int:
    """Bytes that the copies may take. ValueError when SHARD_CACHE_GB is no number above 0."""
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

    Args:
        together: how many shards are read at a time, for which the cache must have room.
    """

    def __init__(self, shards: Sequence[Shard], together: int) -> None:
        """Raises ValueError when the cache is too small for the shards."""
        remote = sorted((shard.bytes for shard in shards if not shard.is_local), reverse=True)
        self.folder, self.limit = shard_cache(), cache_limit() if remote else 0
        needed = sum(remote[:together])
        if needed > self.limit:
            raise ValueError(
                f"the cache may take {self.limit / 1e9:g} GB, and the {min(together, len(remote))} shards that are "
                f"read at a time have {needed / 1e9:.3g} GB: set SHARD_CACHE_GB={needed * 1.2 / 1e9:.2g} or more"
            )
        self._wanted: queue.Queue[Shard] | None = None
        self._owner = 0

    def path(self, shard: Shard) -> Path:
        """The file of a shard, fetched if need be. ValueError says why it cannot be had."""
        if shard.is_local:
            return Path(shard.url)
        identity = f"{shard.url} {shard.bytes} {shard.mark}".encode(errors="backslashreplace")
        copy = self.folder / f"{sha256(identity).hexdigest()[:32]}.tar"
        if self._is_there(copy, shard):
            return copy
        with self._writing(shard):
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(copy.with_suffix(".lock")):
                if not self._is_there(copy, shard):
                    with self._room_for(copy, shard):
                        self._fetch(shard, copy)
        return copy

    def expect(self, shards: Iterable[Shard]) -> None:
        """Fetches shards in the background, in this order. What goes wrong with them shows when they are wanted."""
        remote = [shard for shard in shards if not shard.is_local]
        if not remote:
            return
        if self._wanted is None or self._owner != os.getpid():  # a fork takes no threads along
            self._wanted, self._owner = queue.Queue(), os.getpid()
            for _ in range(THREADS):
                threading.Thread(target=self._fetch_ahead, args=(self._wanted,), daemon=True).start()
        for shard in remote:
            self._wanted.put(shard)

    def _fetch_ahead(self, wanted: "queue.Queue[Shard]") -> None:
        while True:
            with contextlib.suppress(ValueError, OSError):
                self.path(wanted.get())

    def _is_there(self, copy: Path, shard: Shard) -> bool:
        try:
            os.utime(copy)  # the time of its last use
            return copy.stat().st_size == shard.bytes
        except FileNotFoundError:
            return False

    @contextlib.contextmanager
    def _room_for(self, copy: Path, shard: Shard) -> Iterator[None]:
        """Keeps room for a shard that is being fetched, in the cache and on the disk: as a file without content."""
        claim = copy.with_suffix(".claim")
        while not self._make_room(claim, shard.bytes):
            time.sleep(WAIT_SECONDS)  # until other shards have come: they make room for this one
        try:
            free = shutil.disk_usage(self.folder).free
            if free < shard.bytes:
                raise ValueError(
                    f"{shard.shown} has {shard.bytes} bytes, and the disk of {self.folder} has room for {free}: make "
                    f"room, or name another folder with SHARD_CACHE"
                )
            yield
        finally:
            claim.unlink(missing_ok=True)

    def _make_room(self, claim: Path, needed: int) -> bool:
        """Removes copies, the least lately used first, until `needed` bytes fit, and claims these.

        False when others are being fetched, and nothing more can be removed.
        """
        with FileLock(self.folder / "room.lock"):
            files, held = [], 0
            for path in self.folder.iterdir():
                with contextlib.suppress(FileNotFoundError):  # a fetch may have ended meanwhile
                    state = path.stat()
                    if path.suffix == ".tmp" and time.time() - state.st_mtime > ABANDONED_SECONDS:
                        shutil.rmtree(path, ignore_errors=True)
                    elif path.suffix == ".tar":
                        files.append((state.st_mtime, state.st_size, path))
                    elif path.suffix == ".claim" and path != claim and _is_alive(path):
                        held += state.st_size
            held += sum(size for _, size, _ in files)
            for _, size, path in sorted(files):
                if held + needed <= self.limit:
                    break
                with contextlib.suppress(OSError):  # some systems keep a file that is being read
                    path.unlink()
                    held -= size
            if held + needed > self.limit:
                return False
            with claim.open("wb") as file:
                file.truncate(needed)
            return True

    def _fetch(self, shard: Shard, copy: Path) -> None:
        for pause in (*PAUSES, None):
            try:
                self._fetch_once(shard, copy)
                return
            except FileNotFoundError as error:
                raise ValueError(f"{shard.shown} is no longer there: bring it back") from error
            except ValueError:
                if pause is None:
                    raise
                time.sleep(pause)

    def _fetch_once(self, shard: Shard, copy: Path) -> None:
        with replacing(copy) as temporary:
            fetch(shard.url, temporary, shard.bytes)
            size = temporary.stat().st_size
            if size != shard.bytes:
                raise ValueError(
                    f"{shard.shown} came with {size} of its {shard.bytes} bytes: check the connection, and whether the "
                    f"shard is being changed"
                )

    @contextlib.contextmanager
    def _writing(self, shard: Shard) -> Iterator[None]:
        try:
            yield
        except (OSError, NotImplementedError) as error:  # the latter where files cannot be locked
            raise ValueError(
                f"{shard.shown} cannot be kept in {self.folder} ({reason(error)}): make room, or name another folder "
                f"with SHARD_CACHE"
            ) from error

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_wanted": None}


def _is_alive(claim: Path) -> bool:
    """Whether the shard of a claim is still being fetched. The claim of a process that was killed is removed."""
    lock = FileLock(claim.with_suffix(".lock"), timeout=0)
    try:
        with lock:
            claim.unlink(missing_ok=True)
            return False
    except Timeout:
        return True
