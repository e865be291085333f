"""Tar files of picture files, plain or compressed (gzip, bzip2, xz). Nothing is ever extracted."""

import io
import lzma
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self

from imaging.archive import INDEX, LARGEST_FILE, Archive
from imaging.labels import Labels, take_labels
from imaging.picture import SOURCE_SUFFIXES, Header, read_header
from imaging.sources.archives import ArchiveSource
from imaging.sources.source import Content, SequentialSource, Source, identity_of

TAR_MAGIC = b"ustar"  # at byte 257
DAMAGE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError)


class TarArchive(Archive):
    """A tar file: where each picture lies in it, and the index. `names` keep the order of the file.

    A name that comes twice means the later file, as when a tar is unpacked.
    """

    def __init__(self, path: Path, members: dict[str, tuple[int, int]], index: bytes | None) -> None:
        self._index_bytes = index
        super().__init__(path, {name: size for name, (_, size) in members.items()}, {}, SOURCE_SUFFIXES)
        wanted = set(self.names)
        self.names = tuple(name for name in members if name in wanted)
        self.places = {name: members[name][0] for name in self.names}

    def _open(self, name: str) -> BinaryIO:
        if name == self._index_name and self._index_bytes is not None:
            return io.BytesIO(self._index_bytes)
        with self.path.open("rb") as file:
            file.seek(self.places[name])
            return io.BytesIO(file.read(self.sizes[name]))


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
        with _opened(self.path) as tar:
            for ordinal, member in enumerate(_members(tar)):
                if i is None:
                    return
                if ordinal != self.archive.places[self.names[i]]:
                    continue
                yield i, _content(tar, member, self.path)
                i = next(wanted, None)


def open_tar(path: Path) -> Source:
    """A tar file of pictures. ValueError when it is damaged or holds none."""
    members: dict[str, tuple[int, int]] = {}  # name -> its place (a byte, or in a compressed file its turn), size
    headers: dict[str, Header | str] = {}
    known: dict[Header, Header] = {}
    index: tuple[int, bytes] | None = None
    compressed = not is_plain_tar(path)
    with _opened(path) as tar:
        for ordinal, member in enumerate(_members(tar)):
            if not member.isreg():
                continue
            name = member.name.removeprefix("./")
            members.pop(name, None)  # its later place is the one that counts
            members[name] = (ordinal if compressed else member.offset_data, member.size)
            if name.rpartition("/")[2] == INDEX and (index is None or name.count("/") < index[0]):
                content = _content(tar, member, path)
                index = (name.count("/"), content) if isinstance(content, bytes) else index
            elif compressed and name.lower().endswith(SOURCE_SUFFIXES):
                found = _header(tar, member, path)
                headers[name] = found if isinstance(found, str) else known.setdefault(found, found)
    archive = TarArchive(path, members, index[1] if index else None)
    return TarStream(archive, headers) if compressed else TarSource(archive)


def is_plain_tar(path: Path) -> bool:
    """Whether the file is a tar without compression."""
    with path.open("rb") as file:
        file.seek(257)
        return file.read(len(TAR_MAGIC)) == TAR_MAGIC


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r:" if is_plain_tar(path) else "r|*", tarinfo=_StrictInfo) as tar:
            yield tar
    except DAMAGE as error:
        raise ValueError(f"{path} is not a complete tar file ({error}): copy or make it again") from error


class _StrictInfo(tarfile.TarInfo):
    """By itself the library takes a damaged header for the end of the file, and says nothing of all that follows."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(str(error)) from error


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
        yield member


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> bytes | ValueError:
    if member.size > LARGEST_FILE:
        return ValueError(f"{member.name} in {path} has {member.size} bytes; at most {LARGEST_FILE} are accepted")
    file = tar.extractfile(member)
    return file.read() if file else ValueError(f"{member.name} in {path} is no file")


def _header(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> Header | str:
    content = _content(tar, member, path)
    if isinstance(content, ValueError):
        return str(content)
    try:
        return read_header(io.BytesIO(content), member.name.removeprefix("./"))
    except ValueError as error:
        return str(error)
