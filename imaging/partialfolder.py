"""The folder in which an interrupted conversion leaves its part. Others may have made it, or put things into it.

So links in it are refused, never followed; and nothing is removed from it but files named as the ones that such runs
leave.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

JOURNAL, LOCK, PICTURES, PICTURES_ZIP = "journal.jsonl", "lock", "pictures", "pictures.zip"
_FOLDER = re.compile(r"\d{5,}")
_PICTURE = re.compile(r"img\d{8,}\.png")
_BESIDE = re.compile(r"\d+|dataset\.json|sources\.csv|index|sources|publication\.json(\.new)?")  # shards, tables


def place_of(dest: Path) -> Path:
    """Where the unfinished part of `dest` lies."""
    return dest.with_name(f".{dest.name}.partial")


def opened(path: Path, mode: str) -> IO[Any]:
    """Open a file, and never what a link leads to. It does not wait for the other end of a pipe."""

    def opener(path: str, flags: int) -> int:
        return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)

    return open(path, mode, opener=opener)


def check(place: Path) -> None:
    """Make sure that a folder, where there is one, holds only what interrupted runs leave.

    Raises:
        ValueError: when it is a link or no folder, or holds a link, a second name of a file elsewhere, or other files.
    """
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise _strange(place, "is no folder but a link or a file")
    if not place.is_dir():
        return
    for entry in _entries(place):
        path = Path(entry.path)
        if entry.is_symlink():
            raise _strange(path, "is a link")
        depth = len(path.relative_to(place).parts)
        if depth == 1 and entry.name not in (JOURNAL, LOCK, PICTURES, PICTURES_ZIP):
            raise _strange(path, "is not of such a run")
        if not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)):
            raise _strange(path, "is no regular file")
        if depth <= 2 and entry.is_file() and entry.stat().st_nlink > 1:
            raise _strange(path, "is a second name of a file elsewhere")


def clear(place: Path, keep_lock: bool = False) -> None:
    """Remove what interrupted runs leave, and the folders that are empty then."""
    pictures = place / PICTURES
    if pictures.is_dir() and not pictures.is_symlink():
        for folder in [path for path in pictures.iterdir() if _FOLDER.fullmatch(path.name)]:
            if folder.is_dir() and not folder.is_symlink():
                _remove(folder, _PICTURE)
        _remove(pictures, _BESIDE)
    _remove(place, re.compile("|".join(map(re.escape, (JOURNAL, PICTURES_ZIP, *(() if keep_lock else (LOCK,)))))))


def _remove(folder: Path, names: re.Pattern[str]) -> None:
    for path in folder.iterdir():
        if names.fullmatch(path.name) and (path.is_symlink() or path.is_file()):
            path.unlink()
    with contextlib.suppress(OSError):  # something else is in it
        folder.rmdir()


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(Path(entry.path))


def _strange(path: Path, what: str) -> ValueError:
    return ValueError(
        f"{path} {what}, where an interrupted run leaves its part: move it elsewhere, or name another --dest"
    )
