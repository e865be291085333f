"""Tar files of image files, plain or compressed (gzip, bzip2, xz). Nothing is ever extracted."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from imaging.archive import INDEX, INDEX_BYTES, INDEX_BYTES_EACH, Archive, Entry
from imaging.kinds import SOURCE_SUFFIXES
from imaging.labels import Labels, take_labels
from imaging.names import is_hidden, plain, some
from imaging.opening import LARGEST_FILE, RefusedError, open_file, parsing
from imaging.packing import unpacking
from imaging.picture import Header, read_header
from imaging.sources.archives import ArchiveSource
from imaging.sources.source import Content, SequentialSource, Source, identity_of
from imaging.tarheaders import members

TAR_MAGIC = b"ustar"  # at byte 257
MOST_FILES = 10_000_000


class TarArchive(Archive):
    """A tar file: where each image lies in it, and the index. `names` keep the order of the file.

    If a name comes twice, the later file counts, as when a tar is unpacked.
    """

    def __init__(self, path: Path, found: dict[str, tuple[int, int]], index: bytes, passed: list[str]) -> None:
        self._index_bytes = index
        entries = [Entry(name, name, size) for name, (_, size) in found.items()]
        super().__init__(path, entries, SOURCE_SUFFIXES, passed)
        self.names = tuple(name for name in found if name in self.entries)
        self.places = {name: found[name][0] for name in self.names}  # in bytes

    def _open(self, entry: Entry) -> BinaryIO:
        if entry.name == self._index_name:
            return io.BytesIO(self._index_bytes)
        with open_file(self.path) as file:
            file.seek(self.places[entry.name])
            return io.BytesIO(file.read(entry.size))


class TarSource(ArchiveSource):
    """An uncompressed tar: its images can be read in any order."""

    def __init__(self, archive: TarArchive) -> None:
        super().__init__(archive, "a tar file")

    def identity(self) -> str:
        return identity_of([self.path])


class TarStream(SequentialSource):
    """A compressed tar. It was read once for names, labels and headers, and is read again for the pixels."""

    kind = "a compressed tar file"
    knows_headers = True

    def __init__(self, archive: TarArchive, headers: dict[str, Header | str]) -> None:
        super().__init__(archive.path, archive.names)
        self.archive = archive
        self.notes += archive.passed
        self._headers = headers

    def header_of(self, index: int) -> Header:
        found = self._headers[self.names[index]]
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def labels(self) -> Labels:
        return take_labels(self.archive, "auto")

    def stream(self, indices: Iterable[int]) -> Iterator[tuple[int, Content | ValueError]]:
        with opened(self.path) as (file, found):
            for i in indices:
                place = self.archive.places[self.names[i]]
                member = next((member for member in found if member.offset_data == place), None)
                if member is None:
                    raise EOFError("it has become shorter")
                yield i, _content(file, member)


def open_tar(path: Path) -> Source:
    """A tar file of images. ValueError if it is damaged or holds none."""
    found: dict[str, tuple[int, int]] = {}  # name -> place in bytes, size
    headers: dict[str, Header | str] = {}
    known: dict[Header, Header] = {}
    indexes: dict[str, bytes] = {}
    odd: list[str] = []
    compressed = not is_plain_tar(path)
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
            is_index, is_image = name.rpartition("/")[2] == INDEX, name.lower().endswith(SOURCE_SUFFIXES)
            if compressed and (is_index or is_image) and member.size > LARGEST_FILE:  # unpacking it takes long
                raise RefusedError(
                    f"{name} in {path} has {member.size} bytes, but at most {LARGEST_FILE} are accepted: leave it out, "
                    f"or unpack the tar"
                )
            if is_index and member.size <= INDEX_BYTES + INDEX_BYTES_EACH * len(found):
                indexes[name] = _content(file, member)
            elif is_image and compressed:
                header = _header(file, member, name)
                headers[name] = header if isinstance(header, str) else known.setdefault(header, header)
    skipped = f"links and files with holes are skipped: {some(odd)}; pack the files themselves" if odd else ""
    index = indexes[min(indexes, key=lambda name: name.count("/"))] if indexes else b""
    archive = TarArchive(path, found, index, [skipped] if skipped else [])
    return TarStream(archive, headers) if compressed else TarSource(archive)


def is_plain_tar(path: Path) -> bool:
    """Whether the file is a tar without compression."""
    with open_file(path) as file:
        file.seek(257)
        return file.read(len(TAR_MAGIC)) == TAR_MAGIC


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, Iterator[tarfile.TarInfo]]]:
    """A tar file, unpacked, and its headers to be read in order. All damage, in the block too, is one ValueError."""
    with parsing(path, "a complete tar file", "copy or make it again"), unpacking(path) as file:
        yield file, members(file, whole=False)


def _content(file: BinaryIO, member: tarfile.TarInfo) -> bytes:
    file.seek(member.offset_data)
    data = file.read(member.size)
    if len(data) < member.size:
        raise EOFError("unexpected end of data")
    return data


def _header(file: BinaryIO, member: tarfile.TarInfo, name: str) -> Header | str:
    try:
        return read_header(io.BytesIO(_content(file, member)), name)
    except ValueError as error:
        return str(error)
