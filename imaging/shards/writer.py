"""Writes pictures as shards, and beside them the index by which they are opened without being read first."""

import io
import os
import re
import tarfile
from collections import Counter
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from PIL import Image

from imaging import png
from imaging.atomic import beside
from imaging.picture import read_header
from imaging.shards.index import Index, Row
from imaging.shards.pattern import expand, prefix
from imaging.shards.table import BLOCK, checksum_of_ends, fingerprint_line
from imaging.sizes import spell

SHARD_SIZE = 1000  # pictures, unless another number is asked for
NUMBERED = r"%0?(\d*)d"


def is_shard_dest(dest: str) -> bool:
    """Whether `dest` asks for shards: `x-%06d.tar`, `x-{0000..0009}.tar` or `x.tar`."""
    return dest.lower().endswith(".tar")


class ShardWriter:
    """Writes shards, in a `with` block: they appear at its end, all of them, or not at all.

    `x-%06d.tar` is filled shard by shard with `shard_size` pictures each; to the shards of `x-{0000..0009}.tar`, or to
    `x.tar`, the pictures are dealt in turn. Pictures are PNGs without compression and filter, labels .cls files: quick
    to read, and the same bytes on every machine.
    """

    def __init__(self, dest: str | Path, shard_size: int = 0) -> None:
        """Raises ValueError when `dest` cannot name shards, or `shard_size` does not apply to it."""
        self.dest = str(dest)
        numbered = re.findall(NUMBERED, Path(self.dest).name)
        if "://" in self.dest or not is_shard_dest(self.dest):
            raise ValueError(f"{dest} cannot be written: name .tar files on this machine, such as x-%06d.tar")
        self._names = [] if numbered else expand(self.dest)
        if len(numbered) > 1 or "%" in re.sub(NUMBERED, "", self.dest, count=1) or len(set(self._names)) > 10_000:
            raise ValueError(
                f"{dest} does not name shards: write x-%06d.tar, or up to 10000 names as in x-{{0000..0009}}.tar"
            )
        if shard_size and not numbered:
            raise ValueError(f"{dest} says how many shards there are: leave --shard-size out, or write x-%06d.tar")
        self.shard_size = shard_size or SHARD_SIZE
        self.index = Path(f"{prefix(self.dest)}-index.json")
        self.about: dict[str, Any] = {}  # further keys of the index
        self._rows: list[_Row] = []
        self._count = self._labelled = 0
        self._end = ExitStack()

    def __enter__(self) -> Self:
        for path in [self.index, *self._standing()]:
            if path.exists():
                raise ValueError(f"{path} is there already: remove the old shards and their index, or name others")
        self._folder = self._end.enter_context(beside(self.index))
        return self

    def add(self, image: Image.Image, label: int | None = None) -> str:
        """Append a picture, and return the name it got. Label all pictures or none."""
        return self.append(png.encode(image), label)

    def append(self, data: bytes, label: int | None = None) -> str:
        """The same with a picture that is a PNG file already."""
        number = self._count % len(self._names) if self._names else self._count // self.shard_size
        if number == len(self._rows):
            self._rows.append(_Row(Path(self._names[number] if self._names else self.dest % number)))
        row, key = self._rows[number], f"{self._count:08d}"
        files = {} if label is None else {f"{key}.cls": str(int(label)).encode()}
        files[f"{key}.png"] = data
        with (self._folder / f"{number}").open("ab") as shard:  # thousands of shards cannot all be kept open
            for name, content in files.items():
                shard.write(_entry(name, content))
                row.digest.update(fingerprint_line(name, len(content), checksum_of_ends(content)))
        header = read_header(io.BytesIO(data), key)
        row.sizes[spell(header.height, header.width)] += 1
        row.modes[header.mode] += 1
        if label is not None:
            row.labels[int(label)] += 1
            self._labelled += 1
        self._count += 1
        return f"{key}.png"

    def __exit__(self, *failure: Any) -> None:
        with self._end:
            if failure[0] is None:
                self._finish()

    def _finish(self) -> None:
        if self._count < max(len(self._names), 1):
            shards = f", fewer than the {len(self._names)} shards" if self._count else ""
            raise ValueError(f"{self.dest} would hold {self._count or 'no'} images{shards}, and was not written")
        if self._labelled not in (0, self._count):
            raise ValueError(f"only {self._labelled} of the {self._count} images for {self.dest} have a label")
        for number in range(len(self._rows)):
            self._complete(f"{number}", bytes(2 * BLOCK))  # the end of a tar
        rows = [row.summary((self._folder / f"{number}").stat().st_size) for number, row in enumerate(self._rows)]
        index = Index(shards=tuple(rows), **self.about)
        self._complete("index", index.model_dump_json(exclude_none=True).encode())
        for number, row in enumerate(self._rows):
            (self._folder / f"{number}").replace(row.path)
        (self._folder / "index").replace(self.index)

    def _complete(self, name: str, end: bytes) -> None:
        """Adds the end of a file that is being prepared, and makes sure that the disk has all of it."""
        with (self._folder / name).open("ab") as file:
            file.write(end)
            file.flush()
            os.fsync(file.fileno())

    def _standing(self) -> list[Path]:
        """Files that the shards might replace, or be taken for."""
        if self._names:
            return [Path(name) for name in self._names]
        folder, name = Path(self.dest).parent, Path(self.dest).name
        start, end = re.split(r"%0?\d*d", name)
        return [path for path in folder.glob("*") if re.fullmatch(f"{re.escape(start)}\\d+{re.escape(end)}", path.name)]


class _Row:
    """What is known of a shard while it is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digest = blake2b(digest_size=16)
        self.labels, self.sizes, self.modes = Counter[int](), Counter[str](), Counter[str]()

    def summary(self, size: int) -> Row:
        values: dict[str, Any] = {"labels": dict(sorted(self.labels.items())) or None}
        values |= {"sizes": self.sizes, "modes": self.modes, "samples": self.modes.total()}
        return Row(name=self.path.name, bytes=size, digest=self.digest.hexdigest(), **values)


def _entry(name: str, data: bytes) -> bytes:
    """A file as tar has it. No clock and no user: equal input gives equal files."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % BLOCK)
