"""Tar files of image files, plain or compressed (gzip, bzip2, xz). Nothing is ever extracted."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from imaging.archive import INDEX, Archive, Entry, index_limit
from imaging.kinds import SOURCE_SUFFIXES
from imaging.labels import Labels, take_labels
from imaging.names import is_hidden, plain, some
from imaging.opening import LARGEST_FILE, RefusedError, members, parsing, unpacking
from imaging.picture import Header, read_header
from imaging.sources.source import Content, SequentialSource

TAR_MAGIC = b"ustar"  # at byte 257
MOST_FILES = 10_000_000
LOOKED_AT = 4  # members that show what kind of tar it is


class _Listing(Archive):
    """The names in a tar file, in the order of the file, and its `dataset.json`."""

    def __init__(self, path: Path, found: dict[str, tuple[int, int]], index: bytes, passed: list[str]) -> None:
        self._index_bytes = index
        super().__init__(path, [Entry(name, name, size) for name, (_, size) in found.items()], SOURCE_SUFFIXES, passed)
        self.names = tuple(name for name in found if name in self.entries)

    def _open(self, entry: Entry) -> BinaryIO:
        return io.BytesIO(self._index_bytes)


class TarSource(SequentialSource):
    """A tar file. It is read once for names, labels and headers, and again for the pixels.

    If a name comes twice, the later file counts, as when a tar is unpacked.
    """

    kind = "a tar file"
    knows_headers = True

    def __init__(self, path: Path) -> None:
        """Raises ValueError if the tar is damaged or holds no images."""
        found: dict[str, tuple[int, int]] = {}  # name -> place in bytes, size
        self._headers: dict[str, Header | str] = {}  # or what is wrong
        known: dict[Header, Header] = {}
        indexes: dict[str, bytes] = {}
        odd: list[str] = []
        with opened(path) as (file, all_members):
            for member in all_members:
                name = plain(member.name)
                if member.isdir() or not name or is_hidden(name):
                    continue
                if not member.isreg() or member.issparse():
                    odd.append(name)
                    continue
                found.pop(name, None)  # the later place counts
                found[name] = (member.offset_data, member.size)
                if len(found) > MOST_FILES:
                    raise RefusedError(f"{path} has more than {MOST_FILES:,} files: split it")
                if name.rpartition("/")[2] == INDEX and member.size <= index_limit(len(found)):
                    indexes[name] = _content(file, member)
                elif name.lower().endswith(SOURCE_SUFFIXES):
                    header = _header(file, member, name, path)
                    self._headers[name] = header if isinstance(header, str) else known.setdefault(header, header)
        skipped = f"links and files with holes are skipped: {some(odd)}; pack the files themselves" if odd else ""
        index = indexes[min(indexes, key=lambda name: name.count("/"))] if indexes else b""
        self._listing = _Listing(path, found, index, [skipped] if skipped else [])
        self._places = [found[name][0] for name in self._listing.names]
        super().__init__(path, self._listing.names)
        self.notes += self._listing.passed

    def header_of(self, index: int) -> Header:
        found = self._headers[self.names[index]]
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def labels(self) -> Labels:
        return take_labels(self._listing, "auto")

    def stream(self, indices: Iterable[int]) -> Iterator[tuple[int, Content | ValueError]]:
        with opened(self.path) as (file, found):
            for i in indices:
                member = next((member for member in found if member.offset_data == self._places[i]), None)
                if member is None:
                    raise EOFError("it has become shorter")
                if member.size > LARGEST_FILE:
                    yield i, ValueError(str(self._headers[self.names[i]]))
                else:
                    yield i, _content(file, member)


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, Iterator[tarfile.TarInfo]]]:
    """A tar file, unpacked, and its headers to be read in order. All damage, in the block too, is one ValueError."""
    with parsing(path, "a complete tar file", "copy or make it again"), unpacking(path) as file:
        yield file, members(file, whole=False)


def first_names(path: Path) -> list[str]:
    """The names of the first files in a tar; none if it is damaged, which opening it reports."""
    found = []
    try:
        with opened(path) as (_, all_members):
            for member in islice(all_members, LOOKED_AT):
                found.append(member.name)
                if member.size > LARGEST_FILE:
                    break  # unpacking it takes long
    except RefusedError:
        return []
    return found


def _content(file: BinaryIO, member: tarfile.TarInfo) -> bytes:
    file.seek(member.offset_data)
    data = file.read(member.size)
    if len(data) < member.size:
        raise EOFError("unexpected end of data")
    return data


def _header(file: BinaryIO, member: tarfile.TarInfo, name: str, path: Path) -> Header | str:
    if member.size > LARGEST_FILE:
        if not isinstance(file, io.BufferedReader):  # unpacking it takes long
            raise RefusedError(
                f"{name} in {path} has {member.size} bytes, but at most {LARGEST_FILE} are accepted: leave it out, or "
                f"unpack the tar"
            )
        return f"{name} in {path} has {member.size} bytes, but at most {LARGEST_FILE} are accepted"
    try:
        return read_header(io.BytesIO(_content(file, member)), name)
    except ValueError as error:
        return str(error)
