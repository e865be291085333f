"""Files that are compressed as a whole: gzip, bzip2, xz. They unpack only as much at a time as is read."""

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from imaging.opening import open_file

HEAD = 6  # bytes that tell
PACKERS: dict[str, tuple[bytes, Callable[[BinaryIO], object] | None]] = {
    "gzip": (b"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file)),
    "bzip2": (b"BZh", bz2.BZ2File),
    "xz": (b"\xfd7zXZ", lzma.LZMAFile),
    "zstd": (b"\x28\xb5\x2f\xfd", None),
}


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
