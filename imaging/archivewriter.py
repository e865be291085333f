"""Writes a data set: a ZIP or folder of images with their labels, in the form that `imaging.archive` reads."""

import csv
import io
import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, Self

from PIL import Image

from imaging import png
from imaging.archive import INDEX, SOURCES
from system.files import check_vacant, open_replacing, replacing

EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of all files, so that equal input gives equal bytes
UNIX, MODE = 3, 0o644


class Writer(ABC):
    """Writes a set in a `with` block: it appears when the block ends well. Label all images or none.

    Images are PNGs without compression and filter: quick to read, and the same bytes on every machine. `about` has
    further keys for the index of the set.
    """

    def __init__(self, dest: str | Path) -> None:
        self.dest = Path(dest)
        self.about: dict[str, Any] = {}
        self._count = self._labeled = 0
        self._sources: list[str] = []
        self._end = ExitStack()

    def add(self, image: Image.Image, label: int | None = None) -> str:
        """Append an image, and return its name in the set."""
        return self.append(png.encode(image), label)

    def append(self, data: bytes, label: int | None = None, source: str | None = None) -> str:
        """Append a PNG file, and return its name in the set. `source` is what the table of sources calls it."""
        name = self._append(data, label)
        self._count += 1
        self._labeled += label is not None
        self._sources += [] if source is None else [source]
        return name

    def __exit__(self, *failure: Any) -> None:
        with self._end:  # sees a failure, so that nothing is replaced
            if failure[1] is not None:
                raise failure[1]
            if self._labeled not in (0, self._count):
                raise ValueError(f"only {self._labeled} of the {self._count} images for {self.dest} have a label")
            self._finish()

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def _append(self, data: bytes, label: int | None) -> str: ...

    @abstractmethod
    def _finish(self) -> None: ...


class ArchiveWriter(Writer):
    """Writes a ZIP if `dest` ends in .zip; otherwise a folder, which must not exist or be empty."""

    def __enter__(self) -> Self:
        self._labels: list[int] = []
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

    def _append(self, data: bytes, label: int | None) -> str:
        name = picture_name(self._count)
        self._write(name, data)
        self._labels += [] if label is None else [int(label)]
        return name

    def _finish(self) -> None:
        if not self._count:
            raise ValueError(f"{self.dest} would hold no images and was not written")
        labels = [[picture_name(number), label] for number, label in enumerate(self._labels)]
        self._write(INDEX, json.dumps({"labels": labels or None, **self.about}).encode())
        if self._sources:
            self._write(SOURCES, b"".join(source_table(map(picture_name, range(self._count)), self._sources)))

    def _write(self, name: str, data: bytes) -> None:
        if self._zip is not None:
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system, info.external_attr = UNIX, MODE << 16
            self._zip.writestr(info, data)
        else:
            (self._folder / name).parent.mkdir(exist_ok=True)
            (self._folder / name).write_bytes(data)


def picture_name(number: int) -> str:
    """The name of image `number` in a set."""
    return f"{number // 1000:05d}/img{number:08d}.png"


def source_table(names: Iterable[str], sources: Iterable[str]) -> Iterator[bytes]:
    """sources.csv in pieces: the name of each image in the set and in its source.

    Names that are not UTF-8 keep their bytes.
    """
    for row in chain([("file", "source")], zip(names, sources, strict=True)):
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(row)
        yield line.getvalue().encode(errors="surrogateescape")
