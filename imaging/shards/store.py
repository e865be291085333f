"""Shards on this machine: those that lie here, and copies of those that do not, in a cache of bounded size.

    SHARD_CACHE       folder of the cache; by default stylegan2/shards in the user's cache folder
    SHARD_CACHE_GB    how much it may hold; 50 by default

Any number of processes share a cache: each shard is fetched by one of them, and the others wait. What was not used for
the longest time makes room.
"""

import contextlib
import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

from imaging.shards.pattern import Shard, filesystem, reaching, reason
from system import cache
from system.files import replacing

DEFAULT_GB = 50.0
THREADS = 4  # that fetch ahead
PAUSES = (1.0, 4.0)  # seconds before a fetch is tried again
ABANDONED_SECONDS = 24 * 3600.0


def cache_folder() -> Path:
    """Where copies of shards, and what was found out about them, are kept."""
    if chosen := os.environ.get("SHARD_CACHE"):
        return Path(os.path.expanduser(chosen))  # noqa: PTH111 (a ~ that stays is no error)
    return cache.cache_folder("stylegan2") / "shards"


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
        self.folder, self.limit = cache_folder(), cache_limit() if remote else 0
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
        copy = self.folder / f"{sha256(f'{shard.url} {shard.bytes} {shard.mark}'.encode()).hexdigest()[:32]}.tar"
        if self._is_there(copy):
            return copy
        with self._writing(shard):
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(copy.with_suffix(".lock")):
                if not self._is_there(copy):
                    self._make_room(shard.bytes)
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

    def _is_there(self, copy: Path) -> bool:
        try:
            os.utime(copy)  # the time of its last use
        except FileNotFoundError:
            return False
        return True

    def _make_room(self, needed: int) -> None:
        """Removes copies, the least lately used first, until `needed` bytes fit."""
        files = []
        for path in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process may be making room, too
                state = path.stat()
                if path.suffix == ".tmp" and time.time() - state.st_mtime > ABANDONED_SECONDS:
                    path.unlink()
                elif path.suffix in (".tar", ".tmp"):
                    files.append((state.st_mtime, state.st_size, path))
        held = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if held + needed <= self.limit:
                break
            if path.suffix == ".tar":
                with contextlib.suppress(OSError):  # some systems keep a file that is being read
                    path.unlink()
                    held -= size

    def _fetch(self, shard: Shard, copy: Path) -> None:
        for pause in (*PAUSES, None):
            try:
                self._fetch_once(shard, copy)
                return
            except FileNotFoundError as error:
                raise ValueError(f"{shard.url} is no longer there: bring it back") from error
            except ValueError:
                if pause is None:
                    raise
                time.sleep(pause)

    def _fetch_once(self, shard: Shard, copy: Path) -> None:
        fs, path = filesystem(shard.url)
        with replacing(copy) as temporary:
            with reaching(shard.url):
                fs.get_file(path, str(temporary))
            size = temporary.stat().st_size
            if size != shard.bytes:
                raise ValueError(
                    f"{shard.url} came with {size} of its {shard.bytes} bytes: check the connection, and whether the "
                    f"shard is being changed"
                )

    @contextlib.contextmanager
    def _writing(self, shard: Shard) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ValueError(
                f"{shard.url} cannot be kept in {self.folder} ({reason(error)}): make room, or name another folder "
                f"with SHARD_CACHE"
            ) from error

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_wanted": None}
