"""Folders, ZIPs, tars and WebDataset shards of image files. Nothing is ever extracted."""

import io
import tarfile
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from imaging.archive import INDEX, Archive, Entry, FolderArchive, index_limit, open_archive
from imaging.filenames import SOURCE_SUFFIXES, is_hidden, plain, some
from imaging.labels import Labels, take_labels, without
from imaging.opening import LARGEST_FILE, RefusedError, members, parsing, unpacking
from imaging.picture import Header, read_header
from imaging.shards.index import find_shards, names_of_classes, read_beside
from imaging.shards.store import Shard, Store
from imaging.shards.table import UNLABELED, Member, header_of, label_of, samples
from imaging.sources.source import SequentialSource, Source, digest_of

TAR_MAGIC = b"ustar"  # at byte 257
MOST_FILES = 10_000_000
LOOKED_AT = 4  # members that show what kind of tar it is


class ArchiveSource(Source):
    """The image files of a folder or ZIP; `dataset.json` in it gives the labels. Errors are those of `open_archive`."""

    def __init__(self, path: Path) -> None:
        self.archive = open_archive(path, SOURCE_SUFFIXES)
        self.kind = "a folder" if isinstance(self.archive, FolderArchive) else "a ZIP"
        super().__init__(path, self.archive.names)
        self.notes += self.archive.passed

    def read(self, index: int) -> bytes:
        return self.archive.read(self.names[index])

    def header_of(self, index: int) -> Header:
        with self.archive.open(self.names[index]) as file:  # reads far less than the whole file
            return read_header(file, self.names[index])

    def labels(self) -> Labels:
        return take_labels(self.archive, "auto")

    def identity(self) -> str:
        entries = self.archive.entries.values()
        return digest_of([(entry.raw, entry.size, entry.checksum, entry.changed[0]) for entry in entries])


class ShardSource(Source):
    """The images of shards: `x-{0000..0009}.tar`, `x-*.tar`, or one tar; .cls and .json files give the labels."""

    kind = "shards"

    def __init__(self, pattern: str | Path) -> None:
        self.shards = find_shards(str(pattern))
        self.store = Store(self.shards, 1)
        self._index, note = read_beside(str(pattern), self.shards, self.store)
        names, self._ends = list[str](), list[int]()
        self._offsets, self._sizes = array("q"), array("q")
        for shard in self.shards:
            with self.store.open(shard) as file:
                for member, _ in samples(file, shard.displayed):
                    names.append(f"{shard.name}/{member.name}")
                    self._offsets.append(member.offset)
                    self._sizes.append(member.size)
            self._ends.append(len(names))
        super().__init__(Path(pattern), names)
        self.notes += filter(None, [note])

    def read(self, index: int) -> bytes:
        with self.store.open(self._shard(index)) as file:
            file.seek(self._offsets[index])
            return file.read(self._sizes[index])

    def header_of(self, index: int) -> Header:
        key, _, kind = self.names[index].rpartition(".")
        shard = self._shard(index)
        with self.store.open(shard) as file:
            return header_of(file, Member(key, kind, self._offsets[index], self._sizes[index]), shard.displayed)

    def _shard(self, index: int) -> Shard:
        return self.shards[bisect_right(self._ends, index)]

    def _labels(self) -> Iterator[int]:
        for shard in self.shards:
            with self.store.open(shard) as file:
                yield from (label_of(file, about, shard.displayed) for _, about in samples(file, shard.displayed))

    def labels(self) -> Labels:
        values = np.fromiter(self._labels(), np.int64, len(self.names))
        unlabeled = (values == UNLABELED).nonzero()[0]
        if len(unlabeled) == len(values):
            return without(len(values), "the set is unlabeled, since it has no .cls files")
        if len(unlabeled):
            raise ValueError(
                f"{self.names[unlabeled[0]]} has no label, but others have: label all images, or use --labels none"
            )
        return Labels(values, names_of_classes(self._index, int(values.max()) + 1), "labels from the shards")

    def identity(self) -> str:
        return digest_of(self.shards)


class _Listing(Archive):
    """The names in a tar file, in the order of the file, and its `dataset.json`."""

    def __init__(self, path: Path, found: dict[str, tuple[int, int]], index: bytes, passed: list[str]) -> None:
        self._index_bytes = index
        super().__init__(path, [Entry(name, name, size) for name, (_, size) in found.items()], SOURCE_SUFFIXES, passed)
        self.names = tuple(name for name in found if name in self.entries)

    def _open(self, entry: Entry) -> BinaryIO:
        return io.BytesIO(self._index_bytes)


class TarSource(SequentialSource):
    """A tar file, plain or compressed. It is read once for names, labels and headers, and again for the pixels.

    If a name comes twice, the later file counts, as when a tar is unpacked. ValueError for a damaged tar.
    """

    kind = "a tar file"
    knows_headers = True

    def __init__(self, path: Path) -> None:
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
                    indexes[name] = _content(file, member, path)
                elif name.lower().endswith(SOURCE_SUFFIXES):
                    try:
                        header = read_header(io.BytesIO(_content(file, member, path)), name)
                        self._headers[name] = known.setdefault(header, header)
                    except ValueError as error:
                        self._headers[name] = str(error)
                        if member.size > LARGEST_FILE and not isinstance(file, io.BufferedReader):
                            raise RefusedError(f"{error}: leave it out, or unpack the tar") from error  # takes long
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

    def part(self, number: int) -> Iterator[Callable[[], bytes]]:
        with opened(self.path) as (file, found):
            for place in self._places:
                member = next((member for member in found if member.offset_data == place), None)
                if member is None:
                    raise EOFError("it has become shorter")
                yield partial(_content, file, member, self.path)


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


def _content(file: BinaryIO, member: tarfile.TarInfo, path: Path) -> bytes:
    if member.size > LARGEST_FILE:
        name = f"{plain(member.name)} in {path}"
        raise ValueError(f"{name} has {member.size} bytes, but at most {LARGEST_FILE} are accepted")
    file.seek(member.offset_data)
    data = file.read(member.size)
    if len(data) < member.size:
        raise EOFError("unexpected end of data")
    return data
