"""Writes a data set: a ZIP or folder of images with their labels, in the form that `imaging.archive` reads."""

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, Self

from PIL import Image

from imaging import png
from imaging.archive import INDEX, SOURCES
from system.files import open_replacing, replacing_folder

EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of all files, so that equal input gives equal bytes
UNIX, MODE = 3, 0o644


class ArchiveWriter:
    """Writes an archive, in a `with` block: replaces `dest` when the block ends well.

    A `dest` that ends in .zip becomes a ZIP; anything else a folder, which must not exist or be empty. Images are PNGs
    without compression and filter: quick to read, and the same bytes on every machine. Label all images or none.
    """

    def __init__(self, dest: str | Path) -> None:
        self.dest = Path(dest)
        self.about: dict[str, Any] = {}  # further keys of dataset.json
        self._labels: list[int] = []
        self._sources: list[str] = []
        self._count = 0
        self._end = ExitStack()
        self._zip: zipfile.ZipFile | None = None
        self._folder = Path()

    def __enter__(self) -> Self:
        if not is_zip_name(self.dest):
            self._folder = self._end.enter_context(replacing_folder(self.dest))
            return self
        if self.dest.is_dir():
            raise ValueError(f"{self.dest} is a folder: name a ZIP file that does not exist yet")
        file = self._end.enter_context(open_replacing(self.dest))
        self._zip = self._end.enter_context(zipfile.ZipFile(file, "w"))
        return self

    def add(self, image: Image.Image, label: int | None = None) -> str:
        """Append an image, and return its name in the set."""
        return self.append(png.encode(image), label)

    def append(self, data: bytes, label: int | None = None, source: str | None = None) -> str:
        """Append a PNG file, and return its name in the set. `source` is what sources.csv calls it."""
        name = picture_name(self._count)
        self._write(name, data)
        self._count += 1
        self._labels += [] if label is None else [int(label)]
        self._sources += [] if source is None else [source]
        return name

    def __exit__(self, *failure: Any) -> None:
        with self._end:  # sees a failure, so that nothing is replaced
            if failure[1] is not None:
                raise failure[1]
            self._finish()

    def _finish(self) -> None:
        if not self._count:
            raise ValueError(f"{self.dest} would hold no images and was not written")
        if self._labels and len(self._labels) != self._count:
            raise ValueError(f"only {len(self._labels)} of the {self._count} images for {self.dest} have a label")
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


def is_zip_name(dest: Path) -> bool:
    """Whether `dest` is written as a ZIP; otherwise it is a folder."""
    return dest.suffix.lower() == ".zip"


def source_table(names: Iterable[str], sources: Iterable[str]) -> Iterator[bytes]:
    """sources.csv in pieces: the name of each image in the set and in its source.

    Names that are not UTF-8 keep their bytes.
    """
    for row in chain([("file", "source")], zip(names, sources, strict=True)):
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(row)
        yield line.getvalue().encode(errors="surrogateescape")
