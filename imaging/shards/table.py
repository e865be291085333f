"""The positions of all files in a shard, from its tar headers, so that any sample can be read by itself.

A sample is what WebDataset takes for one: neighboring files whose names are equal up to the first dot of their last
part. One of them is an image; `.cls` (a class number as text) or "label" in `.json` is its class.
"""

import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from imaging.filenames import TRAINING_SUFFIXES
from imaging.labels import MOST_CLASSES, class_number
from imaging.opening import LARGEST_FILE, reason
from imaging.packing import HEAD, packer_of
from imaging.tarheaders import members
from system.bounded import json_object
from system.text import printable

CHECKED_BYTES = 4096  # at either end of a file
LARGEST_LABEL = 2**24  # bytes
UNLABELED = -1


class Member(NamedTuple):
    """A file in a shard. `key` and `kind` are its name before and after the first dot of its last part."""

    key: str
    kind: str
    offset: int
    size: int

    @property
    def name(self) -> str:
        """As messages name it."""
        return printable(f"{self.key}.{self.kind}")


@dataclass(frozen=True)
class Table:
    """The samples of a shard, in its order, as three numbers each.

    Attributes:
        offsets, sizes: int64 [samples], of the image in the shard, in bytes.
        labels: int64 [samples], -1 for unlabeled samples.
        digest: of every file's name, size, first and last bytes; equal digests mean equal shards.
    """

    offsets: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    digest: str


Look = Callable[[Member], None]  # is given every image


def read_table(file: BinaryIO, shard: str, labeled: bool, look: Look = lambda picture: None) -> Table:
    """Read all headers of the tar `file`, which errors call `shard`; also classes if `labeled`.

    ValueError says which sample or shard is wrong, how, and what to do.
    """
    digest = blake2b(digest_size=16)
    rows = []
    for picture, about in _samples(file, shard, digest):
        rows.append((picture.offset, picture.size, _label(file, about, shard) if labeled else UNLABELED))
        look(picture)
    if not rows:
        raise ValueError(f"{shard} holds no samples: remove it, or make it again")
    offsets, sizes, labels = np.array(rows, dtype=np.int64).T
    return Table(offsets.copy(), sizes.copy(), labels.copy(), digest.hexdigest())


def pictures(file: BinaryIO, shard: str) -> Iterator[Member]:
    """The image of every sample."""
    return (picture for picture, _ in _samples(file, shard, blake2b()))


def name_at(file: BinaryIO, shard: str, offset: int) -> str:
    """The name of the file at `offset`, which tables do not keep: names would take most of the memory."""
    return next((m.name for m in _members(file, shard, blake2b()) if m.offset == offset), f"the file at byte {offset}")


def checksum_of_ends(data: bytes) -> int:
    """CRC-32 of the first and last bytes of a file's content."""
    return zlib.crc32(data[-CHECKED_BYTES:], zlib.crc32(data[:CHECKED_BYTES]))


def _samples(file: BinaryIO, shard: str, digest: "blake2b") -> Iterator[tuple[Member, dict[str, Member]]]:
    for _, files in groupby(_members(file, shard, digest), key=lambda member: member.key):
        yield _parts(list(files), shard)


def _members(file: BinaryIO, shard: str, digest: "blake2b") -> Iterator[Member]:
    """The files of a tar that are not hidden. Each is added to the digest."""
    for info in _headers(file, shard):
        base = info.name.rpartition("/")[2]
        if info.isdir() or base.startswith(".") or "__MACOSX" in info.name:
            continue
        if not info.isreg() or info.issparse():
            raise ValueError(f"{printable(info.name)} in {shard} is a link or special file: pack the files themselves")
        ends = _ends(file, info.offset_data, info.size)
        digest.update(f"{info.name}\0{info.size}\0{ends}\n".encode(errors="surrogateescape"))
        folder = info.name.removesuffix(base)
        stem, _, kind = base.partition(".")
        yield Member(folder + stem, kind, info.offset_data, info.size)


def _headers(file: BinaryIO, shard: str) -> Iterator[tarfile.TarInfo]:
    """Every header up to the mark that ends a tar, without which the shard is incomplete."""
    file.seek(0)
    if packer := packer_of(file.read(HEAD)):
        raise ValueError(f"{shard} is packed with {packer}, so that its samples cannot be read one by one: unpack it")
    try:
        yield from members(file, whole=True)
    except Exception as error:  # headers may hold anything, and tarfile raises nearly anything
        raise ValueError(
            f"{shard} is not a whole tar file ({reason(error)}): copy or make it again, or leave it out of --data"
        ) from error


def _ends(file: BinaryIO, offset: int, size: int) -> int:
    file.seek(offset)
    first = file.read(min(size, CHECKED_BYTES))
    if size <= CHECKED_BYTES:
        return checksum_of_ends(first)
    file.seek(offset + size - CHECKED_BYTES)
    return zlib.crc32(file.read(CHECKED_BYTES), zlib.crc32(first))


def _parts(files: list[Member], shard: str) -> tuple[Member, dict[str, Member]]:
    """The image of a sample, and its other files by kind."""
    found = [member for member in files if f".{member.kind}".lower().endswith(TRAINING_SUFFIXES)]
    what, kinds = f"{printable(files[0].key)} in {shard}", [printable(member.kind) for member in found or files]
    if len(found) > 1:
        raise ValueError(f"{what} has several images ({kinds[0]} and {kinds[1]}): keep one, a sample is one image")
    if not found:
        raise ValueError(
            f"{what} has no image (png, jpg, jpeg, webp) next to its {kinds[0] or 'file'}: leave it out, or make the "
            f"shard with `tar --sort=name`, which puts the files of a sample together"
        )
    if found[0].size > LARGEST_FILE:
        raise ValueError(
            f"{found[0].name} in {shard} has {found[0].size} bytes, but at most {LARGEST_FILE} are accepted: leave it "
            f"out"
        )
    return found[0], {member.kind.lower(): member for member in files if member is not found[0]}


def _label(file: BinaryIO, about: dict[str, Member], shard: str) -> int:
    member = about.get("cls") or about.get("json")
    if member is None:
        return UNLABELED
    what = f"the label in {member.name} of {shard}"
    if member.size > LARGEST_LABEL:
        raise _wrong_label(f"{what} has {member.size} bytes")
    file.seek(member.offset)
    data = file.read(member.size)
    found = _from_json(data, what) if member.kind.lower() == "json" else data.decode(errors="replace").strip()
    if found is None:
        return UNLABELED
    try:
        return class_number(found, what)
    except ValueError as error:
        raise ValueError(f"{error}; correct it, or use --labels none") from None


def _from_json(data: bytes, what: str) -> Any:
    found = json_object(data)
    if found is None:
        raise _wrong_label(f'{what} is not a JSON object such as {{"label": 3}}')
    return found.get("label")


def _wrong_label(what: str) -> ValueError:
    return ValueError(
        f"{what}: labels must be class numbers 0, 1, 2, ... below {MOST_CLASSES}; correct it, or use --labels none"
    )
