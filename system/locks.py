"""Exclusive locks on files, released when their process ends in any way."""

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class BusyError(RuntimeError):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of a file within the block. The file is made if it is missing.

    Yields True, or False if the file system has no locks; then nothing is held.

    Raises:
        BusyError: if another process holds it.
        OSError: if the file cannot be made.
    """
    if fcntl is None:
        try:
            with FileLock(path, timeout=0):
                yield True
        except Timeout as error:
            raise BusyError(str(path)) from error
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    try:
        held = _lock(descriptor, path)
        yield held
        if held:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # forked processes share the lock
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES):
            raise BusyError(str(path)) from error
        return False  # ENOLCK, EOPNOTSUPP, ENOSYS, ...: network disks without locks
    return True
