"""The user's cache folder, and private folders for temporary files."""

import contextlib
import errno
import os
import tempfile
from pathlib import Path

FOLDER = "stylegan2"  # of this program, in the user's cache


def cache_folder(name: str = "") -> Path:
    """Return the folder of a program, by default this one, in the user's cache. It is not made.

    It is `$XDG_CACHE_HOME/NAME`, or else `~/.cache/NAME`. Where there is no home folder, or nothing can be made there,
    as for a user without a name in a container, it is a private folder for temporary files.

    Raises:
        ValueError: when there is none of these.
    """
    name, given = name or FOLDER, os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(os.path.expanduser(given or "~/.cache"), name)  # noqa: PTH111 (a ~ that stays is no error)
    if given or (folder.parts[0] != "~" and (folder.is_dir() or _can_be_made(folder))):
        return folder
    try:
        return private_folder(name)
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(
            f"there is no home folder for a cache, nor another ({reason}): set XDG_CACHE_HOME to a folder that can be "
            f"written"
        ) from error


def private_folder(name: str) -> Path:
    """Make a folder for temporary files that no other user can write to, or find it there, and return it.

    Raises:
        OSError: when it cannot be made, or somebody else has made it.
    """
    if not hasattr(os, "getuid"):  # Windows, where the folder of temporary files is the user's own
        folder = Path(tempfile.gettempdir(), name)
        folder.mkdir(exist_ok=True)
        return folder
    folder = Path(tempfile.gettempdir(), f"{name}-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if folder.is_symlink() or not folder.is_dir() or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(folder))
    return folder


def _can_be_made(folder: Path) -> bool:
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
