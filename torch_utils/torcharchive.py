"""The archives of `torch.save`: ZIP files of which nothing is taken for granted.

PyTorch's reader and Python's differ in what they make of a strange archive: in the case of names, in records of one
name, in headers that contradict the directory. So this is the only reader of such a file, and it takes only what all
readers agree on: stored records that do not overlap, from the first byte on, each with the name and the size that
both its header and the directory say, no two of which differ in case alone.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from system.windows import Window

MAGIC = b"PK\x03\x04"
MOST_RECORDS = 2**16  # files in the archive
_LONGEST_DIRECTORY = 2**23  # bytes

_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_PLACE64 = struct.Struct("<4sIQI")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_HEADER = struct.Struct("<4s5H3I2H")
_ALL = 0xFFFFFFFF  # in the place of a number that does not fit
_ENCRYPTED, _SIZES_FOLLOW = 1, 8  # flags


class Record(NamedTuple):
    """A file in the archive."""

    name: str
    header: int  # where its header is
    size: int
    sum: int  # CRC-32; 0 where it was not taken


class DamagedError(ValueError):
    """An archive that is not whole."""

    def __init__(self) -> None:
        super().__init__("it is damaged, or not of torch.save: fetch it anew")


class Archive:
    """The records of an archive, by names without the folder that they all are in.

    Args:
        file: open for reading; it stays open as long as records are read.

    Raises:
        ValueError: when it is damaged, or two readers could differ about it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        begin, length = self._directory()
        records = sorted(_entries(Window(file, begin, length)), key=lambda record: record.header)
        folder = _folder(records)
        if len({record.name.replace("\\", "/").casefold().strip("/") for record in records}) < len(records):
            raise ValueError("its archive has two files of one name")
        if records[0].header:
            raise ValueError("its archive has something in front of its files")
        starts = [self._start(record) for record in records]
        for record, start, end in zip(records, starts, [r.header for r in records[1:]] + [begin], strict=True):
            if start + record.size > end:
                raise ValueError("its archive unpacks to more than it is")
        for record in records:
            self._check_header(record)
        self._records = {r.name.removeprefix(folder): (r, s) for r, s in zip(records, starts, strict=True)}

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def size(self, name: str) -> int:
        """Bytes of a record."""
        return self._records[name][0].size

    def read_into(self, name: str, buffer: memoryview) -> None:
        """Fills a buffer of the record's size. Raises DamagedError when the record's sum is another."""
        record, start = self._records[name]
        Window(self._file, start, record.size).read_into(buffer)
        if record.sum and zlib.crc32(buffer) != record.sum:
            raise DamagedError

    def read(self, name: str) -> bytes:
        """A whole record. Raises DamagedError when its sum is another."""
        data = bytearray(self.size(name))
        self.read_into(name, memoryview(data))
        return bytes(data)

    def _directory(self) -> tuple[int, int]:
        """Where the directory begins, and how long it is; it ends where the records begin that tell its place."""
        at = self._size - _END.size
        mark, *disks, count, length, begin, comment = self._unpack(_END, at)
        total, end = disks[-1], at
        if comment or mark != b"PK\5\6":
            raise DamagedError
        if at >= _PLACE64.size and self._unpack(_PLACE64, at - _PLACE64.size)[0] == b"PK\6\7":
            _, _, end, _ = self._unpack(_PLACE64, at - _PLACE64.size)
            mark, *_, total, count, length64, begin64 = self._unpack(_END64, end)
            if (
                mark != b"PK\6\6"
                or end + _END64.size + _PLACE64.size != at
                or length not in (length64, _ALL)
                or begin not in (begin64, _ALL)
            ):
                raise DamagedError
            length, begin = length64, begin64
        if total != count or begin + length != end:
            raise DamagedError
        if count > MOST_RECORDS or length > _LONGEST_DIRECTORY:
            raise ValueError(f"its archive has more than {MOST_RECORDS:,} files, which is too many to read")
        return begin, length

    def _start(self, record: Record) -> int:
        """Where the contents of a record begin."""
        *_, name, extra = self._unpack(_HEADER, record.header)
        return record.header + _HEADER.size + int(name) + int(extra)

    def _check_header(self, record: Record) -> None:
        mark, _, flags, method, _, _, _, packed, size, length, _ = self._unpack(_HEADER, record.header)
        name = Window(self._file, record.header + _HEADER.size, length).read(length)
        if mark != MAGIC or method or flags & _ENCRYPTED:
            raise DamagedError
        told = {packed, size} <= {record.size, _ALL} or (flags & _SIZES_FOLLOW and packed == size == 0)
        if _spelled(name) != record.name or not told:
            raise ValueError("the headers of its archive contradict the directory")

    def _unpack(self, form: struct.Struct, at: int) -> tuple[int, ...]:
        if not 0 <= at <= self._size - form.size:
            raise DamagedError
        self._file.seek(at)
        return form.unpack(self._file.read(form.size))


def _entries(window: Window) -> Iterator[Record]:
    while window.left:
        mark, _, _, _, method, _, _, sum_, packed, size, name, extra, comment, *_, header = _ENTRY.unpack(
            window.read(_ENTRY.size)
        )
        if mark != b"PK\1\2":
            raise DamagedError
        spelled, wide = _spelled(window.read(name)), _wide(window.read(extra))
        window.read(comment)
        if method:
            raise ValueError("its archive is compressed, as those of torch.save never are")
        size, packed, header = (next(wide, _ALL) if value == _ALL else value for value in (size, packed, header))
        if size != packed:
            raise DamagedError
        yield Record(spelled, header, size, sum_)


def _wide(extra: bytes) -> Iterator[int]:
    """The numbers of an entry that are too large for their fields, from its extra field of number 1."""
    while len(extra) >= 4:
        number, length = struct.unpack("<2H", extra[:4])
        if number == 1:
            return iter(int.from_bytes(extra[at : at + 8], "little") for at in range(4, 4 + length, 8))
        extra = extra[4 + length :]
    return iter(())


def _folder(records: list[Record]) -> str:
    """The folder that all records are in, with a slash behind it: that of the one `data.pkl`."""
    names = [record.name for record in records]
    found = [name for name in names if name.count("/") == 1 and name.casefold().endswith("/data.pkl")]
    if any(name.endswith("/archive_format") for name in names) and len(found) != 1:
        raise ValueError("it is a graph of torch.export, and wanted are weights: give the network that it was made of")
    if len(found) != 1 or not found[0].endswith("/data.pkl"):
        raise ValueError("it is an archive without the one data.pkl of torch.save")
    if any(name.endswith("/constants.pkl") for name in names):
        raise ValueError("it is a TorchScript program, and wanted are weights")
    return found[0].removesuffix("data.pkl")


def _spelled(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
