"""Files of results in the cache folder, which the processes of a machine share."""

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from system.files import open_replacing
from system.resources import cache_folder

Result = TypeVar("Result")


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
            stack.enter_context(FileLock(path.with_suffix(".lock")))
        with suppress(OSError, ValueError):
            return load(path.read_bytes())
        found = make()
        with suppress(OSError), open_replacing(path) as file:
            file.write(dump(found))
    return found
