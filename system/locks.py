"""Exclusive locks on files. A lock goes with its process, however the process ends."""

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
    """Hold the lock of a file, which is made if missing, while the block runs.

    Gives True, or False where the file system cannot lock: then nothing is held, and nothing is known of others.

    Raises:
        BusyError: when another process holds it.
        OSError: when the file cannot be made.
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
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # of forked processes, too, which share it
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES):
            raise BusyError(str(path)) from error
        return False  # ENOLCK, EOPNOTSUPP, ENOSYS and more: network disks without a lock service, FUSE, SMB
    return True
