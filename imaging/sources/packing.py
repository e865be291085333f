"""Files that may be compressed as a whole: gzip, bzip2, xz. They unpack no more at a time than is asked for."""

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from imaging.opening import open_file

HEAD = 6  # bytes by which they are told
PACKERS: dict[bytes, Callable[[BinaryIO], object]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}


def is_packed(path: Path) -> bool:
    """Whether the file is compressed so."""
    with open_file(path) as file:
        return file.read(HEAD).startswith(tuple(PACKERS))


@contextmanager
def unpacking(path: Path) -> Iterator[BinaryIO]:
    """The content of a file, unpacked where it is packed. Errors are those of the unpackers."""
    with open_file(path) as file:
        start = file.read(HEAD)
        file.seek(0)
        opener = next((opener for magic, opener in PACKERS.items() if start.startswith(magic)), None)
        yield cast(BinaryIO, opener(file)) if opener else file
