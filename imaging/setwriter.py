"""Writes data sets: a ZIP or folder as `imaging.archive` reads it, or shards and the index that lets them open at once.

Equal input gives equal bytes: files have no clock and no user, and images are PNGs without compression and filter.
"""

import csv
import filecmp
import io
import json
import os
import re
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Self

from PIL import Image

from imaging.archive import INDEX, SOURCES
from imaging.opening import BLOCK
from imaging.pixels import encode_png
from imaging.shards.index import Index, expand, prefix
from imaging.shards.store import Shard
from imaging.shards.table import read_table
from system.files import beside, check_vacant, open_replacing, replacing

EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of all files
UNIX, MODE = 3, 0o644
SHARD_SIZE = 1000  # images by default
MOST_FIXED = 10_000  # shards that are written side by side
NUMBERED = r"%0?\d*d"


class Writer(ABC):
    """Writes a set in a `with` block: it appears when the block ends well. `about` has further keys for its index."""

    def __init__(self, dest: str | Path) -> None:
        self.dest = Path(dest)
        self.about: dict[str, Any] = {}
        self._labels: list[int | None] = []
        self._sources: list[str] = []
        self._end = ExitStack()

    def add(self, image: Image.Image, label: int | None = None) -> str:
        """Append an image, and return its name in the set."""
        return self.append(encode_png(image), label)

    def append(self, data: bytes, label: int | None = None, source: str | None = None) -> str:
        """Append a PNG file, and return its name in the set. `source` is what the table of sources calls it."""
        self._labels.append(None if label is None else int(label))
        name = self._append(data, len(self._labels) - 1)
        self._sources += [] if source is None else [source]
        return name

    def __exit__(self, *failure: Any) -> None:
        with self._end:  # sees a failure, so that nothing is replaced
            if failure[1] is not None:
                raise failure[1]
            count, labeled = len(self._labels), len(self._labels) - self._labels.count(None)
            if labeled not in (0, count):
                raise ValueError(f"only {labeled} of the {count} images for {self.dest} have a label")
            self._finish(count)

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def _append(self, data: bytes, number: int) -> str: ...

    @abstractmethod
    def _finish(self, count: int) -> None: ...

    def _write_sources(self, file: BinaryIO, names: Iterable[str]) -> None:
        """Write sources.csv: the name of each image in the set and in its source, whatever bytes it has."""
        text = io.TextIOWrapper(file, "utf-8", errors="surrogateescape", newline="")
        rows = zip(names, self._sources, strict=True)
        csv.writer(text, lineterminator="\n").writerows(chain([("file", "source")], rows))
        text.detach()


class ArchiveWriter(Writer):
    """Writes a ZIP if `dest` ends in .zip; otherwise a folder, which must not exist or be empty."""

    def __init__(self, dest: str | Path, suffix: str = ".png") -> None:
        """`suffix`: of the names of the files."""
        super().__init__(dest)
        self._suffix = suffix

    def __enter__(self) -> Self:
        self._zip: zipfile.ZipFile | None = None
        if self.dest.suffix.lower() != ".zip":
            check_vacant(self.dest)
            self._folder = self._end.enter_context(replacing(self.dest))
            self._folder.mkdir()
            return self
        if self.dest.is_dir():
            raise ValueError(f"{self.dest} is a folder: name a ZIP file that does not exist yet")
        file = self._end.enter_context(open_replacing(self.dest))
        self._zip = self._end.enter_context(zipfile.ZipFile(file, "w"))
        return self

    def _append(self, data: bytes, number: int) -> str:
        self._write(name := self._name(number), data)
        return name

    def _finish(self, count: int) -> None:
        if not count:
            raise ValueError(f"{self.dest} would hold no images and was not written")
        names = list(map(self._name, range(count)))
        labels = None if None in self._labels else [[*pair] for pair in zip(names, self._labels, strict=True)]
        self._write(INDEX, json.dumps({"labels": labels, **self.about}).encode())
        if self._sources:
            table = io.BytesIO()
            self._write_sources(table, names)
            self._write(SOURCES, table.getvalue())

    def _name(self, number: int) -> str:
        return f"{number // 1000:05d}/img{number:08d}{self._suffix}"

    def _write(self, name: str, data: bytes) -> None:
        if self._zip is not None:
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system, info.external_attr = UNIX, MODE << 16
            self._zip.writestr(info, data)
        else:
            (self._folder / name).parent.mkdir(exist_ok=True)
            (self._folder / name).write_bytes(data)


def is_shard_dest(dest: str) -> bool:
    """Whether `dest` means shards."""
    return dest.lower().endswith(".tar")


class ShardWriter(Writer):
    """Writes shards, with labels as .cls files.

    `x-%06d.tar` is filled shard by shard with `shard_size` images each. To the shards of `x-{0000..0009}.tar`, or to
    `x.tar`, images are dealt in turn. `continues`: a run was perhaps killed while it moved the same shards to their
    places.
    """

    def __init__(self, dest: str | Path, shard_size: int = 0, continues: bool = False) -> None:
        """Raises ValueError if `dest` cannot name shards, or `shard_size` does not apply to it."""
        super().__init__(dest)
        name, self.continues = str(dest), continues
        numbered = re.search(NUMBERED, self.dest.name)
        self._fixed = [] if numbered else list(map(Path, expand(name)))
        odd = "%" in re.sub(NUMBERED, "", name, count=1) or len(self._fixed) > MOST_FIXED or "://" in name
        if odd or not is_shard_dest(name) or (shard_size and not numbered):
            raise ValueError(
                f"{dest} does not name shards: write x-%06d.tar, which --shard-size applies to, or up to {MOST_FIXED} "
                f"names on this machine, as in x-{{0000..0009}}.tar"
            )
        self._shard_size = shard_size or SHARD_SIZE
        self._index, self._table = (Path(f"{prefix(name)}-{end}") for end in ("index.json", "sources.csv"))

    def check_vacant(self) -> None:
        """ValueError if a file exists that the shards would replace, or that would be taken for one of them."""
        named = re.sub(NUMBERED, r"\\d+", re.escape(self.dest.name))
        beside = sorted(path for path in self.dest.parent.glob("*") if re.fullmatch(named, path.name))
        for path in [self._index, self._table, *(self._fixed or beside)]:
            if path.exists():
                raise _taken(path)

    def _number(self, picture: int) -> int:
        return picture % len(self._fixed) if self._fixed else picture // self._shard_size

    def _path(self, number: int) -> Path:
        return self._fixed[number] if self._fixed else Path(str(self.dest) % number)

    def __enter__(self) -> Self:
        if not self.continues:
            self.check_vacant()
        self._folder = self._end.enter_context(beside(self._index))
        return self

    def _append(self, data: bytes, number: int) -> str:
        key, label = f"{number:08d}", self._labels[number]
        with (self._folder / f"{self._number(number)}").open("ab") as shard:  # thousands cannot be kept open
            if label is not None:
                shard.write(_entry(f"{key}.cls", str(label).encode()))
            shard.write(_entry(f"{key}.png", data))
        return f"{key}.png"

    def _finish(self, count: int) -> None:
        fixed = len(self._fixed)
        if count < max(fixed, 1):
            why = f", fewer than the {fixed} shards" if count else ""
            raise ValueError(f"{self.dest} would hold {count or 'no'} images{why}, and was not written")
        moves = {
            self._folder / f"{number}": self._path(number) for number in range(fixed or self._number(count - 1) + 1)
        }
        rows = []
        for made, to in moves.items():
            with made.open("ab+") as file:
                file.write(bytes(2 * BLOCK))  # the end of a tar
                file.flush()
                rows.append(read_table(file, Shard(str(to), made.stat().st_size, ""), labeled=True).row)
        (self._folder / "index").write_bytes(Index(shards=tuple(rows), **self.about).to_json())
        # The index comes first: from then on a set without all of its shards is known to be incomplete.
        first = {self._folder / "index": self._index}
        if self._sources:
            with (self._folder / "sources").open("wb") as file:
                self._write_sources(file, (f"{self._path(self._number(i)).name}/{i:08d}.png" for i in range(count)))
            first[self._folder / "sources"] = self._table
        if not self.continues:
            self.check_vacant()
        for made, to in (first | moves).items():
            if not to.exists():
                with made.open("rb+") as file:
                    os.fsync(file.fileno())
                made.replace(to)
            elif not filecmp.cmp(made, to, shallow=False):  # an interrupted run may have moved it there
                raise _taken(to)


def _entry(name: str, data: bytes) -> bytes:
    """A file as tar has it."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % BLOCK)


def _taken(path: Path) -> ValueError:
    return ValueError(f"{path} exists already: remove the old shards and their index, or choose another name")
