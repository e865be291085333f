"""What the machine offers: CPU cores, the user's cache folder, and private folders for temporary files."""

import contextlib
import errno
import os
import tempfile
from pathlib import Path

FOLDER = "stylegan2"  # of this project, in the user's cache; kept for the files of earlier versions


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_folder() -> Path:
    """Return this project's folder in the user's cache, which may not exist; ValueError if no folder can be used.

    It is `$XDG_CACHE_HOME/stylegan2`, or `~/.cache/stylegan2`; without a writable home, as in a container, private.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(os.path.expanduser(given or "~/.cache"), FOLDER)  # noqa: PTH111 (keeps a ~ it cannot expand)
    if given or (folder.parts[0] != "~" and (folder.is_dir() or is_writable(nearest(folder)))):
        return folder
    try:
        return private_folder(FOLDER)
    except OSError as error:
        raise ValueError("no folder for a cache can be written: set XDG_CACHE_HOME to a writable folder") from error


def private_folder(name: str) -> Path:
    """Return a folder for temporary files that no other user can write to, made if missing. OSError otherwise."""
    user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""  # on Windows every user has a folder for temporary files
    folder = Path(tempfile.gettempdir(), name + user)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if (
        folder.is_symlink()
        or not folder.is_dir()
        or (user and (status.st_uid != os.getuid() or status.st_mode & 0o022))
    ):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(folder))
    return folder


def nearest(path: Path) -> Path:
    """Return the path if it exists, otherwise the nearest folder above it that does."""
    return next(place for place in (path, *path.parents) if place.exists())


def is_writable(path: Path) -> bool:
    """Whether a path is a folder in which files can be made."""
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)
