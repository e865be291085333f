"""Files and folders that are whole or not there: written beside their place and moved in with one rename.

What is being written is in a private folder beside its place. The folder has a random name and is made new, so nobody
can plant a link there, and two writers of one path do not meet. A lock on it tells whether its writer lives.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Without locks, as on some network disks, a temporary counts as abandoned when nothing in it has changed for so long.
_ABANDONED_SECONDS = 3600.0
_TEMPORARY = re.compile(r"\.[0-9a-f]{8}-[0-9a-f]{16}\.tmp")
# What file systems answer that cannot force a folder to the disk (SMB, FUSE, Windows).
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR}


@contextmanager
def replacing(path: Path, previous: Path | None = None) -> Iterator[Path]:
    """Give the path of a temporary to write; when the block ends well, the temporary becomes `path`.

    Missing folders above `path` are made. When the block or the move fails, the files that were there stay.

    Args:
        path: the file, or folder, to replace or make.
        previous: where a file that was at `path` is moved first; None drops it.

    Raises:
        OSError: of the system, with the name of `path`, since the user does not know the temporary.
    """
    with _private_folder(path) as folder:
        temporary = folder / path.name
        yield temporary
        _sync(temporary)
        if previous is not None and path.exists():
            path.replace(previous)
        temporary.replace(path)
        _sync(path.parent)


@contextmanager
def open_replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a binary file to write; when the block ends well, the file becomes `path`. Otherwise as `replacing`."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        yield file


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder that becomes `path` when the block ends well and vanishes when it does not.

    Raises:
        ValueError: when `path` exists and is not an empty folder.
        OSError: as `replacing`.
    """
    check_vacant(path)
    with replacing(path) as temporary:
        temporary.mkdir()
        yield temporary


def check_vacant(path: Path) -> None:
    """Raise ValueError when `path` exists and is not an empty folder."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} is there already and is not an empty folder: name another one")


def real_path(path: Path | str) -> Path:
    """The absolute path without links, as far as it exists.

    A link that leads to itself stays as it is: `Path.resolve` raises RuntimeError for it before Python 3.13.
    """
    return Path(os.path.realpath(path))


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Give an empty private folder next to `path` to prepare files in. It is removed when the block ends."""
    with _private_folder(path) as folder:
        yield folder


@contextmanager
def naming(path: Path, temporary: Path) -> Iterator[None]:
    """Make the system's errors about `temporary`, or about no file, name `path`, which the user knows."""
    try:
        yield
    except OSError as error:
        elsewhere = error.filename is not None and not Path(error.filename).is_relative_to(temporary)
        if error.errno is None or elsewhere:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def in_utf8(path: Path) -> Iterator[Path]:
    """Give a path of a file or folder that exists for libraries that take only names in UTF-8.

    It is `path` itself. Where its name has other bytes, as it may on Linux, it is that of an open descriptor.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            yield Path(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return
    yield path


@contextmanager
def _private_folder(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    start = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]}-"  # short, however long the name is
    for abandoned in _abandoned(path.parent.resolve()):
        if abandoned.name.startswith(start):
            shutil.rmtree(abandoned, ignore_errors=True)
    folder, lock = _claim(path, start)
    try:
        with naming(path, folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_UN)  # of forked processes, too, which share it
            os.close(lock)


def _claim(path: Path, start: str) -> tuple[Path, int | None]:
    """A new folder beside `path`, and the descriptor that holds its lock, where there are locks."""
    while True:
        folder = path.parent / f"{start}{secrets.token_hex(8)}.tmp"
        with naming(path, folder):
            folder.mkdir(mode=0o700)
        if fcntl is None:
            return folder, None
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue  # another writer of this path took it for abandoned before the lock was set
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        except OSError:  # this file system has no locks
            return folder, lock
        if folder.exists():
            return folder, lock
        os.close(lock)


@cache
def _abandoned(folder: Path) -> tuple[Path, ...]:
    """Temporaries of dead writers. A folder is searched once a process: it may be about to get a million pictures."""
    with contextlib.suppress(OSError):  # a folder may be writable and not readable
        return tuple(path for path in folder.iterdir() if _TEMPORARY.fullmatch(path.name) and _is_abandoned(path))
    return ()


def _is_abandoned(temporary: Path) -> bool:
    if temporary.is_symlink() or not temporary.is_dir():
        return False  # not ours
    try:
        if fcntl is not None:
            lock = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                return False
            except OSError:
                pass  # this file system has no locks
            finally:
                os.close(lock)
        changes = (path.lstat().st_mtime for path in (temporary, *temporary.rglob("*")))
        return time.time() - max(changes) > _ABANDONED_SECONDS
    except OSError:
        return False  # it has just gone, or belongs to another user


def _sync(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk, where the file system can."""
    is_folder = path.is_dir()
    if is_folder and os.name != "posix":
        return  # only posix can open a folder to sync it
    try:
        descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if not is_folder or error.errno not in _CANNOT_SYNC:
            raise
