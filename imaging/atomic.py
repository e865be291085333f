"""Files and folders that appear whole or not at all."""

import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO

# A temporary of another machine cannot be asked whether its writer lives; after this long it is taken for dead.
_ABANDONED_SECONDS = 3600.0


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends well. When it does not, what was there stays untouched.

    Missing folders above it are made. Temporaries that dead processes left for this path are removed. An OSError names
    `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    with naming(path, temporary):
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty folder that becomes `path` when the block ends well, and vanishes when it does not.

    ValueError when `path` is there already and is not an empty folder; otherwise as `replacing`.
    """
    check_vacant(path)
    with beside(path) as temporary:
        yield temporary
        temporary.replace(path)


def check_vacant(path: Path) -> None:
    """ValueError when `path` is there already and is not an empty folder."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} is there already and is not an empty folder: name another one")


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """An empty folder next to `path`, to prepare files in. It is gone when the block ends.

    Missing folders above it are made. An OSError names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    with naming(path, temporary):
        try:
            temporary.mkdir()
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def naming(path: Path, temporary: Path) -> Iterator[None]:
    """Makes the system's errors speak of `path`, which the user knows, and not of the temporary."""
    try:
        yield
    except OSError as error:
        elsewhere = error.filename is not None and not Path(error.filename).is_relative_to(temporary)
        if error.errno is None or elsewhere:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _temporary(path: Path) -> Path:
    """Where `path` is written at first: beside it, for a rename must not cross disks."""
    for abandoned in _abandoned(path.parent.resolve()):
        if abandoned.name.startswith(f".{path.name}."):
            _remove(abandoned)
    return path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.tmp")


@cache
def _abandoned(folder: Path) -> tuple[Path, ...]:
    """Temporaries of dead processes. A folder is searched once: it may be about to get a million pictures."""
    return tuple(path for path in folder.iterdir() if path.suffix == ".tmp" and _is_stale(path))


def _is_stale(temporary: Path) -> bool:
    host, _, process = temporary.stem.rpartition("-")
    if os.name == "posix" and host.endswith(f".{socket.gethostname()}") and process.isdecimal():
        return not _lives(int(process))
    try:
        return time.time() - temporary.stat().st_mtime > _ABANDONED_SECONDS
    except FileNotFoundError:
        return False


def _lives(process: int) -> bool:
    if process == os.getpid():
        return False  # left by an earlier process of this number, as in a container: this one has only just begun
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
