"""Tar files of picture files, plain or compressed (gzip, bzip2, xz). Nothing is ever extracted."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self

from imaging.archive import INDEX, INDEX_BYTES, INDEX_BYTES_EACH, Archive, Entry
from imaging.kinds import SOURCE_SUFFIXES
from imaging.labels import Labels, take_labels
from imaging.names import is_hidden, plain, some
from imaging.opening import LARGEST_FILE, RefusedError, open_file, parsing
from imaging.picture import Header, read_header
from imaging.sources.archives import ArchiveSource
from imaging.sources.packing import unpacking
from imaging.sources.source import Content, SequentialSource, Source, identity_of

TAR_MAGIC = b"ustar"  # at byte 257
MOST_FILES = 10_000_000
LARGEST_HEADER = 2**20  # bytes of a long name, or of further facts about a file
HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


class TarArchive(Archive):
    """A tar file: where each picture lies in it, and the index. `names` keep the order of the file.

    A name that comes twice means the later file, as when a tar is unpacked.
    """

    def __init__(self, path: Path, members: dict[str, tuple[int, int]], index: bytes | None, passed: list[str]) -> None:
        self._index_bytes = index
        entries = [Entry(name, name, size) for name, (_, size) in members.items()]
        super().__init__(path, entries, SOURCE_SUFFIXES, passed)
        self.names = tuple(name for name in members if name in self.entries)
        self.places = {name: members[name][0] for name in self.names}

    def _open(self, entry: Entry) -> BinaryIO:
        if entry.name == self._index_name:
            return io.BytesIO(self._index_bytes or b"")
        with open_file(self.path) as file:
            file.seek(self.places[entry.name])
            return io.BytesIO(file.read(entry.size))


class TarSource(ArchiveSource):
    """An uncompressed tar: its pictures can be read in any order."""

    def __init__(self, archive: TarArchive) -> None:
        super().__init__(archive, "a tar file")

    def identity(self) -> str:
        return identity_of([self.path])


class TarStream(SequentialSource):
    """A compressed tar. It was read once for its names, labels and headers, and is read once more for its pixels."""

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
        wanted = iter(indices)
        i = next(wanted, None)
        with opened(self.path) as tar:
            for ordinal, member in enumerate(members(tar)):
                if i is None:
                    return
                if ordinal != self.archive.places[self.names[i]]:
                    continue
                yield i, _content(tar, member, f"{self.names[i]} in {self.path}", LARGEST_FILE)
                i = next(wanted, None)


def open_tar(path: Path) -> Source:
    """A tar file of pictures. ValueError when it is damaged or holds none."""
    found: dict[str, tuple[int, int]] = {}  # name -> its place (a byte, or in a compressed file its turn), size
    headers: dict[str, Header | str] = {}
    known: dict[Header, Header] = {}
    index: tuple[int, bytes] | None = None
    odd: list[str] = []
    compressed = not is_plain_tar(path)
    with opened(path) as tar:
        for ordinal, member in enumerate(members(tar)):
            name = plain(member.name)
            if member.isdir() or not name or is_hidden(name):
                continue
            if not member.isreg() or member.issparse():
                odd.append(name)
                continue
            found.pop(name, None)  # its later place is the one that counts
            found[name] = (ordinal if compressed else member.offset_data, member.size)
            if len(found) > MOST_FILES:
                raise RefusedError(f"{path} has more than {MOST_FILES:,} files: split it")
            wanted = name.rpartition("/")[2] == INDEX or name.lower().endswith(SOURCE_SUFFIXES)
            if compressed and wanted and member.size > LARGEST_FILE:  # to pass over it takes as long as to read it
                what = f"{name} in {path} has {member.size} bytes"
                raise RefusedError(f"{what}, and at most {LARGEST_FILE} are accepted: leave it out, or unpack the tar")
            if name.rpartition("/")[2] == INDEX and (index is None or name.count("/") < index[0]):
                content = _content(tar, member, name, INDEX_BYTES + INDEX_BYTES_EACH * len(found))
                index = (name.count("/"), content) if isinstance(content, bytes) else index
            elif compressed and name.lower().endswith(SOURCE_SUFFIXES):
                header = _header(tar, member, name, path)
                headers[name] = header if isinstance(header, str) else known.setdefault(header, header)
    passed = []
    if odd:
        passed.append(f"passed over, links and files with holes: {some(odd)}; pack the files themselves")
    archive = TarArchive(path, found, index[1] if index else None, passed)
    return TarStream(archive, headers) if compressed else TarSource(archive)


def is_plain_tar(path: Path) -> bool:
    """Whether the file is a tar without compression."""
    with open_file(path) as file:
        file.seek(257)
        return file.read(len(TAR_MAGIC)) == TAR_MAGIC


@contextmanager
def opened(path: Path) -> Iterator[tarfile.TarFile]:
    """A tar file, packed or not, to be read from front to back. Its damage, in the block too, is one ValueError."""
    # Not read as a stream, where the library goes on for ever behind the end: it only seeks forward.
    with (
        parsing(path, "a complete tar file", "copy or make it again"),
        unpacking(path) as file,
        tarfile.open(fileobj=file, mode="r:", tarinfo=_strict_info()) as tar,
    ):
        yield tar


def members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """What is in a tar file, one by one, in memory that does not grow."""
    reached = -1
    while (member := tar.next()) is not None:
        if member.size < 0 or tar.offset <= reached:
            raise tarfile.ReadError("a header leads back")  # and reading would never end
        reached = tar.offset
        tar.members = []  # type: ignore[attr-defined]  # else it keeps them all
        yield member


def _strict_info() -> type[tarfile.TarInfo]:
    """How the headers of one tar file are read: they have a limit, and a damaged one is an error.

    By itself the library takes a damaged header for the end of the file, and says nothing of all that follows.
    """

    class StrictInfo(tarfile.TarInfo):
        shared = 0  # bytes of headers that hold for all files, which the library keeps

        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
            info = super().frombuf(buf, encoding, errors)
            if info.size < 0:  # the library would read all that follows
                raise tarfile.ReadError(f"a header of {info.size} bytes")
            if info.type == tarfile.XGLTYPE:
                StrictInfo.shared += info.size
            if info.type in HEADERS and max(info.size, StrictInfo.shared) > LARGEST_HEADER:
                raise tarfile.ReadError(f"a header of {info.size} bytes")
            return info

        @classmethod
        def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
            try:
                return super().fromtarfile(tarfile_)
            except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
                raise tarfile.ReadError(str(error)) from error

    return StrictInfo


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, most: int) -> bytes | ValueError:
    if member.size > most:
        return ValueError(f"{name} has {member.size} bytes; at most {most} are accepted")
    file = tar.extractfile(member)
    return file.read() if file else ValueError(f"{name} is no file")


def _header(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, path: Path) -> Header | str:
    content = _content(tar, member, f"{name} in {path}", LARGEST_FILE)
    if isinstance(content, ValueError):
        return str(content)
    try:
        return read_header(io.BytesIO(content), name)
    except ValueError as error:
        return str(error)
