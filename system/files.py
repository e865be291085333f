"""Atomic files and folders: written in a private folder next to the destination, and moved there with one rename.

The private folder has a random name, so no other user can plant a link there. Its lock shows if its writer is alive.
"""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from system.resources import is_writable, nearest

_LOCK = ".writer.lock"
_TEMPORARY = re.compile(r"\.[0-9a-f]{8}-[0-9a-f]{16}\.tmp")


@contextmanager
def replacing(path: Path, previous: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path to write a file or folder; if the block succeeds, it becomes `path`.

    Missing parent folders are made. The existing file is moved to `previous`; None drops it. If the block or the move
    fails, existing files stay. An OSError of the system has the name of `path` in place of the temporary's.
    """
    with beside(path) as folder:
        temporary = folder / path.name
        yield temporary
        _sync(temporary)
        if previous is not None and path.exists():
            path.replace(previous)
        temporary.replace(path)
        _sync(path.parent)


@contextmanager
def open_replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary file to write; if the block succeeds, it becomes `path`. Otherwise as `replacing`."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        yield file


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Yield an empty private folder next to `path`, which is removed at the end of the block.

    Errors of the system name `path` in place of the files in the folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    start = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]}-"  # short, for any length of name
    for abandoned in _abandoned(path.parent.resolve()):
        if abandoned.name.startswith(start):
            shutil.rmtree(abandoned, ignore_errors=True)
    folder = path.parent / f"{start}{secrets.token_hex(8)}.tmp"
    try:
        folder.mkdir(mode=0o700)
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError, NotImplementedError):  # network disks without locks
                stack.enter_context(FileLock(folder / _LOCK, timeout=0))
            (folder / "files").mkdir()
            yield folder / "files"
    except OSError as error:
        elsewhere = error.filename is not None and not Path(error.filename).is_relative_to(folder)
        if error.errno is None or elsewhere:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_vacant(path: Path) -> None:
    """Raise ValueError if `path` exists and is not an empty folder."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} exists and is not an empty folder: choose another path")


def check_folder(folder: Path, option: str) -> None:
    """Raise ValueError unless files can be written to a folder, which may be missing. Writes nothing.

    `option` is the option and its value as typed, for the error.
    """
    if re.match(r"(https?|ftp|s3|gs|hf):/", str(folder), re.IGNORECASE):  # `Path` merges the two slashes
        raise ValueError(f"{option} is a URL: files are written to this machine only, so choose a path")
    place = nearest(folder)
    if not place.is_dir():
        raise ValueError(f"{option} needs a folder, and {place} is a file: choose another path")
    if not is_writable(place):
        raise ValueError(f"{option} needs a folder to write to, and {place} is read-only: choose another path")


def real_path(path: Path | str) -> Path:
    """Return the absolute path without links. A link to itself stays: `Path.resolve` raises RuntimeError for it."""
    return Path(os.path.realpath(path))


@cache
def _abandoned(folder: Path) -> tuple[Path, ...]:
    """Return the temporaries of dead writers. Cached: the folder may be about to get a million pictures."""
    found = []
    with contextlib.suppress(OSError):  # a folder may be writable but not readable
        for path in filter(lambda path: _TEMPORARY.fullmatch(path.name), folder.iterdir()):
            if not path.is_symlink() and (path / _LOCK).is_file():
                with contextlib.suppress(OSError, NotImplementedError), FileLock(path / _LOCK, timeout=0):
                    found.append(path)
    return tuple(found)


def _sync(path: Path) -> None:
    """Force a file to the disk, or the names in a folder, which some file systems cannot sync (SMB, FUSE, Windows)."""
    is_folder = path.is_dir()
    with contextlib.suppress(*([OSError] if is_folder else [])):
        descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
