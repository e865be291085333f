"""What is in a shard: the place and class of every image, from its tar headers, and a summary for the index.

A sample is what WebDataset takes for one: neighboring files whose names are equal up to the first dot of their last
part. One of them is an image; `.cls` (a class number as text) or "label" in `.json` is its class.
"""

import io
import zlib
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from itertools import groupby
from typing import Annotated, Any, BinaryIO, Literal, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from imaging.filenames import TRAINING_SUFFIXES
from imaging.headers import cached
from imaging.labels import MOST_CLASSES, class_number
from imaging.opening import BLOCK, HEAD, LARGEST_FILE, members, packer_of, reason
from imaging.picture import Header, read_header
from imaging.shards.store import LARGEST, Shard, Store
from imaging.sizes import parse_size, spell
from system.text import printable
from system.untrusted import json_object

CHECKED_BYTES = 4096  # at either end of a file
ENOUGH = 2**16  # bytes of an image that nearly always contain its header
LARGEST_LABEL = 2**24  # bytes
SMALLEST_SAMPLE = 2 * BLOCK  # bytes: a header and an image
UNLABELED = -1
DIGEST = 16  # bytes
TABLES = (".table", ".labeled")  # endings of kept tables: without and with classes

Count = Annotated[int, Field(ge=1)]
ClassNumber = Annotated[int, Field(ge=0, lt=MOST_CLASSES)]


class Row(BaseModel):
    """A shard in the index of its set. Equal digests mean equal shards.

    `labels`: class -> samples, None if unlabeled or not read; `sizes`: "96x64" -> samples; `modes`: mode -> samples.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    bytes: int = Field(ge=0, le=LARGEST)
    samples: Count
    digest: str  # of every file's name, size, first and last bytes
    labels: dict[ClassNumber, Count] | None = None
    sizes: dict[str, Count] = Field(min_length=1)
    modes: dict[Literal["L", "RGB", "RGBA"], Count] = Field(min_length=1)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.samples > self.bytes // SMALLEST_SAMPLE:
            raise ValueError("its bytes cannot hold so many samples")
        for name, counts in (("labels", self.labels), ("sizes", self.sizes), ("modes", self.modes)):
            if counts is not None and sum(counts.values()) != self.samples:
                raise ValueError(f"its {name} do not add up to its samples")
        for size in self.sizes:
            parse_size(size)
        return self


class Table(NamedTuple):
    """The images of a shard, in its order. `labels` are -1 for unlabeled samples."""

    row: Row
    offsets: np.ndarray  # int64 [samples], in bytes
    sizes: np.ndarray  # int64 [samples], in bytes
    labels: np.ndarray  # int64 [samples]

    def to_bytes(self) -> bytes:
        """The content of a file in the cache: a checksum, the row, and three numbers for each sample."""
        data = self.row.model_dump_json().encode() + b"\n" + np.stack(self[1:]).tobytes()
        return blake2b(data, digest_size=DIGEST).digest() + data

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The table in a file. ValueError if it is damaged."""
        if blake2b(data[DIGEST:], digest_size=DIGEST).digest() != data[:DIGEST]:
            raise ValueError("damaged")
        row, _, numbers = data[DIGEST:].partition(b"\n")
        return cls(Row.model_validate_json(row), *np.frombuffer(numbers, np.int64).reshape(3, -1))


def table_of(shard: Shard, labeled: bool, store: Store) -> Table:
    """The table of a shard, with its classes if `labeled`, kept in the cache. ValueError says what is wrong with it."""

    def read() -> Table:
        with store.open(shard) as file:
            return read_table(file, shard, labeled)

    return cached(shard.kept(store.folder, TABLES[labeled]), Table.from_bytes, read, Table.to_bytes)


def read_table(file: BinaryIO, shard: Shard, labeled: bool) -> Table:
    """Read all headers in the file of a shard: those of the tar and of the images."""
    digest = blake2b(digest_size=DIGEST)
    numbers, sizes, modes = [], Counter[str](), Counter[str]()
    for picture, about in samples(file, shard.displayed, digest):
        label = label_of(file, about, shard.displayed) if labeled else UNLABELED
        numbers.append((picture.offset, picture.size, label))
        header = header_of(file, picture, shard.displayed)
        sizes[spell(header.height, header.width)] += 1
        modes[header.mode] += 1
    if not numbers:
        raise ValueError(f"{shard.displayed} holds no samples: remove it, or make it again")
    offsets, lengths, labels = np.ascontiguousarray(np.array(numbers, dtype=np.int64).T)
    classes = Counter(labels.tolist())
    if 0 < classes[UNLABELED] < len(labels):
        raise ValueError(
            f"{shard.displayed} has labels for {len(labels) - classes[UNLABELED]} of its {len(labels)} samples: label "
            f"all of them, or use --labels none"
        )
    counts: dict[str, Any] = {"sizes": sizes, "modes": modes}
    counts["labels"] = None if classes[UNLABELED] else dict(sorted(classes.items()))
    row = Row(name=shard.name, bytes=shard.bytes, samples=len(labels), digest=digest.hexdigest(), **counts)
    return Table(row, offsets, lengths, labels)


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


def samples(file: BinaryIO, shard: str, digest: "blake2b | None" = None) -> Iterator[tuple[Member, dict[str, Member]]]:
    """The image of every sample in the tar `file`, and its other files by kind. All files are added to `digest`."""
    for key, group in groupby(_members(file, shard, digest or blake2b()), key=lambda member: member.key):
        files, what = list(group), f"{printable(key)} in {shard}"
        found = [member for member in files if f".{member.kind}".lower().endswith(TRAINING_SUFFIXES)]
        kinds = [printable(member.kind) for member in found or files]
        if len(found) > 1:
            raise ValueError(f"{what} has several images ({kinds[0]} and {kinds[1]}): keep one, a sample is one image")
        if not found:
            raise ValueError(
                f"{what} has no image (png, jpg, jpeg, webp) next to its {kinds[0] or 'file'}: leave it out, or make "
                f"the shard with `tar --sort=name`, which puts the files of a sample together"
            )
        if found[0].size > LARGEST_FILE:
            raise ValueError(
                f"{found[0].name} in {shard} has {found[0].size} bytes, but at most {LARGEST_FILE} are accepted: leave "
                f"it out"
            )
        yield found[0], {member.kind.lower(): member for member in files if member is not found[0]}


def header_of(file: BinaryIO, picture: Member, shard: str) -> Header:
    """Size and mode of an image in a shard."""
    what = f"{picture.name} in {shard}"
    file.seek(picture.offset)
    start = file.read(min(picture.size, ENOUGH))
    try:
        return read_header(io.BytesIO(start), what)
    except ValueError:
        if len(start) == picture.size:
            raise
    return read_header(io.BytesIO(start + file.read(picture.size - len(start))), what)


def label_of(file: BinaryIO, about: dict[str, Member], shard: str) -> int:
    """The class of a sample from its other files; -1 if it has none. ValueError if it is no class number."""
    member = about.get("cls") or about.get("json")
    if member is None:
        return UNLABELED
    what = f"the label in {member.name} of {shard}"
    file.seek(member.offset)
    data = file.read(min(member.size, LARGEST_LABEL))
    found: Any = data.decode(errors="replace").strip()
    try:
        if member.kind.lower() == "json":
            content = json_object(data)
            if content is None:
                raise ValueError(f'{what} is not a JSON object such as {{"label": 3}}')
            found = content.get("label")
        return UNLABELED if found is None else class_number(found, what)
    except ValueError as error:
        raise ValueError(f"{error}; correct it, or use --labels none") from None


def _members(file: BinaryIO, shard: str, digest: "blake2b") -> Iterator[Member]:
    """The files of a tar that are not hidden. ValueError for a tar without its end: it is incomplete."""
    file.seek(0)
    if packer := packer_of(file.read(HEAD)):
        raise ValueError(f"{shard} is packed with {packer}, so that its samples cannot be read one by one: unpack it")
    headers = members(file, whole=True)
    while True:
        try:
            info = next(headers, None)
        except Exception as error:  # headers may hold anything, and tarfile raises nearly anything
            raise ValueError(
                f"{shard} is not a whole tar file ({reason(error)}): copy or make it again, or leave it out of --data"
            ) from error
        if info is None:
            return
        folder, slash, base = info.name.rpartition("/")
        if info.isdir() or base.startswith(".") or "__MACOSX" in info.name:
            continue
        if not info.isreg() or info.issparse():
            raise ValueError(f"{printable(info.name)} in {shard} is a link or special file: pack the files themselves")
        file.seek(info.offset_data)
        last = first = file.read(min(info.size, CHECKED_BYTES))
        if info.size > CHECKED_BYTES:
            file.seek(info.offset_data + info.size - CHECKED_BYTES)
            last = file.read(CHECKED_BYTES)
        ends = zlib.crc32(last, zlib.crc32(first))
        digest.update(f"{info.name}\0{info.size}\0{ends}\n".encode(errors="surrogateescape"))
        stem, _, kind = base.partition(".")
        yield Member(f"{folder}{slash}{stem}", kind, info.offset_data, info.size)
