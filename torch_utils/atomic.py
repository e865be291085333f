"""Files that are whole or not there: written beside their place, forced to the disk, and moved in with one rename."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A temporary of another machine cannot be asked whether its writer lives; after this long it is taken for dead.
_ABANDONED_SECONDS = 3600.0


@contextmanager
def replacing(path: Path, previous: Path | None = None) -> Iterator[Path]:
    """Gives the path of a temporary file to write; when the block ends well it becomes `path`.

    A file that was at `path` is moved to `previous` first, if that is given. When the block or the move fails, the
    temporary is removed and the error goes on, an OSError with the name of `path`; the files that were there stay as
    they were. Temporaries that dead processes left for this path are removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    temporary = path.with_name(f"{_prefix(path)}{socket.gethostname()}-{os.getpid()}.tmp")
    try:
        yield temporary
        _sync(temporary)
        if previous is not None and path.exists():
            path.replace(previous)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        if error.errno is None or (error.filename is not None and Path(error.filename) != temporary):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # the user knows nothing of the temporary
    finally:
        temporary.unlink(missing_ok=True)


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _sweep(path: Path) -> None:
    for temporary in path.parent.iterdir():
        if temporary.name.startswith(_prefix(path)) and temporary.suffix == ".tmp" and _is_stale(temporary):
            temporary.unlink(missing_ok=True)


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


def _sync(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return  # only posix can open a folder to sync it
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
