"""ZIP files without compression, in pieces: what stands before each file, and the directory at the end.

The standard library keeps half a kilobyte for every file until the end, and cannot go on with a ZIP whose writing was
interrupted. Here the directory is made from a list that may lie on the disk. Numbers that 32 bits cannot hold are
written as ZIP64 does (APPNOTE 4.3.9, 4.3.14, 4.5.3).
"""

import struct
import zlib
from collections.abc import Iterable
from typing import IO, NamedTuple

DATE = 0x0021  # 1 January 1980: no clock, equal input gives equal files
FULL = 0xFFFFFFFF
FULL_COUNT = 0xFFFF
VERSION, VERSION_64 = 20, 45
UNIX, MODE = 3, 0o644
UTF8 = 0x800


class Entry(NamedTuple):
    """A file in a ZIP: its name, checksum (CRC-32), size, and where its header begins."""

    name: str
    crc: int
    size: int
    place: int

    @classmethod
    def of(cls, name: str, data: bytes, place: int) -> "Entry":
        return cls(name, zlib.crc32(data), len(data), place)

    @property
    def end(self) -> int:
        """Where the next file's header begins."""
        return self.place + len(header(self)) + self.size


def header(entry: Entry) -> bytes:
    """What stands before the data of a file, which must be smaller than 4 GiB."""
    name, flags = _encoded(entry.name)
    fixed = struct.pack(
        "<4s5H3I2H", b"PK\3\4", VERSION, flags, 0, 0, DATE, entry.crc, entry.size, entry.size, len(name), 0
    )
    return fixed + name


def write_directory(file: IO[bytes], entries: Iterable[Entry], start: int) -> None:
    """Writes what ends a ZIP; `start` is where `file` stands."""
    count = size = 0
    for entry in entries:
        size += file.write(_listed(entry))
        count += 1
    if count >= FULL_COUNT or size >= FULL or start >= FULL:
        version = UNIX << 8 | VERSION_64
        file.write(
            struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, version, VERSION_64, 0, 0, count, count, size, start)
            + struct.pack("<4sIQI", b"PK\6\7", 0, start + size, 1)
        )
    shown = min(count, FULL_COUNT)
    file.write(struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, shown, shown, min(size, FULL), min(start, FULL), 0))


def _listed(entry: Entry) -> bytes:
    name, flags = _encoded(entry.name)
    far = entry.place >= FULL
    extra = struct.pack("<2HQ", 1, 8, entry.place) if far else b""
    version = VERSION_64 if far else VERSION
    numbers = (entry.crc, entry.size, entry.size, len(name), len(extra), 0, 0, 0, MODE << 16, min(entry.place, FULL))
    made_by = UNIX << 8 | version
    return struct.pack("<4s6H3I5H2I", b"PK\1\2", made_by, version, flags, 0, 0, DATE, *numbers) + name + extra


def _encoded(name: str) -> tuple[bytes, int]:
    return (name.encode("ascii"), 0) if name.isascii() else (name.encode("utf-8"), UTF8)
