"""Opening files of strangers: regular files only, limits on what is read, one sentence for all damage.

Files that are compressed as a whole unpack only as much at a time as is read. Of tars the headers are read one by one.
"""

import bz2
import gzip
import lzma
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from system.text import printable, public

LARGEST_FILE = 3 * 2**28  # bytes: no image is larger, a 200-megapixel TIFF has 600 MB
QUOTED = 120  # letters of a library's message that are shown
HEAD = 6  # bytes that tell packed files apart
PACKERS: dict[str, tuple[bytes, Callable[[BinaryIO], object] | None]] = {
    "gzip": (b"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file)),
    "bzip2": (b"BZh", bz2.BZ2File),
    "xz": (b"\xfd7zXZ", lzma.LZMAFile),
    "zstd": (b"\x28\xb5\x2f\xfd", None),
}
BLOCK = 512  # bytes: tar's unit
LARGEST_HEADER = 2**20  # bytes of a long name in a tar, or of further keys of a file
MOST_SHARED = 100  # keys for all files that follow, which the library keeps


class RefusedError(ValueError):
    """Already says what is wrong with which file, and what to do."""


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading. RefusedError for a pipe, a device or a folder, on which reading may never end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RefusedError(f"{printable(str(path))} is a folder, a pipe or a device: give a regular file")
    return os.fdopen(descriptor, "rb")


def check_file(path: Path) -> None:
    """As `open_file`, for libraries that open a path by themselves."""
    open_file(path).close()


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


def packer_of(start: bytes) -> str:
    """The program that packed a file with this beginning: "gzip", ...; "" if it is not packed."""
    return next((name for name, (magic, _) in PACKERS.items() if start.startswith(magic)), "")


@contextmanager
def unpacking(path: Path) -> Iterator[BinaryIO]:
    """The content of a file, unpacked if it is packed. Errors are those of the unpackers."""
    with open_file(path) as file:
        packer = packer_of(file.read(HEAD))
        file.seek(0)
        opener = PACKERS[packer][1] if packer else None
        yield cast(BinaryIO, opener(file)) if opener else file


def members(file: BinaryIO, whole: bool) -> Iterator[tarfile.TarInfo]:
    """The header of each file in an unpacked tar, in order. Between two of them the content may be read.

    If `whole`, the mark that ends a tar must be there: without it a tar may be cut. tarfile.ReadError, or nearly any
    other error, for damaged headers.
    """
    place = 0
    with tarfile.open(fileobj=cast(BinaryIO, _Short(file)), mode="r:") as tar:
        while True:
            file.seek(place)
            try:
                info = tarfile.TarInfo.fromtarfile(tar)
            except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
                return
            except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
                file.seek(max(place - 1, 0))
                if whole or not file.read(1):
                    raise tarfile.ReadError("its end is missing") from None
                return
            except tarfile.HeaderError as error:
                raise tarfile.ReadError("a header is damaged") from error
            if info.size < 0 or tar.offset <= place:
                raise tarfile.ReadError("a header leads back")  # and reading would never end
            if len(tar.pax_headers) > MOST_SHARED:
                raise tarfile.ReadError("too many headers for all files")
            place = tar.offset
            yield info


class _Short:
    """A file that refuses to read more at once than a header has, even if a header claims more."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= LARGEST_HEADER:
            raise tarfile.ReadError(f"a header has {size} bytes")
        return self._file.read(size)
