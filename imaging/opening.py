"""Opening files of strangers: regular files only, limits on what is read, one sentence for all damage."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from system.text import printable, public

LARGEST_FILE = 3 * 2**28  # bytes: no image is larger, a 200-megapixel TIFF has 600 MB
QUOTED = 120  # letters of a library's message that are shown


class RefusedError(ValueError):
    """Already says what is wrong with which file, and what to do."""


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading. RefusedError for a pipe, a device or a folder, on which reading may never end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_regular(path)
    return os.fdopen(descriptor, "rb")


def check_file(path: Path) -> None:
    """As `open_file` without opening, for libraries that open a path by themselves."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise _not_regular(path)


def _not_regular(path: Path) -> RefusedError:
    return RefusedError(f"{printable(str(path))} is a folder, a pipe or a device: give a regular file")


def reason(error: BaseException) -> str:
    """What a library says went wrong, in one short line without passwords."""
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    first = error.args[0] if error.args else ""
    text = getattr(error, "strerror", None) or (first if isinstance(first, str) else str(error))
    line = (text.strip().splitlines() or [""])[0]
    return printable(public(line), QUOTED) or type(error).__name__


@contextmanager
def parsing(subject: object, expected: str, advice: str) -> Iterator[None]:
    """Turn whatever a parser raises into a ValueError: "SUBJECT is not EXPECTED (reason): ADVICE".

    A missing file, a missing permission and a RefusedError are not changed.
    """
    try:
        yield
    except (RefusedError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # parsers meet hostile bytes and raise nearly anything
        raise RefusedError(f"{printable(str(subject))} is not {expected} ({reason(error)}): {advice}") from error


class Bounded:
    """A binary file that allows reading at most `most` bytes in all. Reading more is a ValueError."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self._most, self._left = file, most, most

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, or all that are left."""
        wanted = self._left + 1 if size is None or size < 0 else min(size, self._left + 1)
        data = self._file.read(wanted)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"more than {self._most / 2**20:g} MB of it would have to be read")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
