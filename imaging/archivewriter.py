"""Writes a data set: a ZIP or folder of pictures with their labels, in the form that `imaging.archive` reads."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Self

from PIL import Image

from imaging import png
from imaging.archive import INDEX
from imaging.storedzip import Entry, header, write_directory
from system.files import open_replacing, replacing_folder


class ArchiveWriter:
    """Writes an archive, in a `with` block: replaces `dest` at its end, whole or not at all.

    `dest` ending in .zip becomes a ZIP; anything else a folder, which must not exist or be empty. Pictures are PNGs
    without compression and filter: quick to read, and the same bytes on every machine.
    """

    def __init__(self, dest: str | Path) -> None:
        self.dest = Path(dest)
        self.about: dict[str, Any] = {}  # further keys of dataset.json
        self._labels: list[list[Any]] = []
        self._end = ExitStack()
        self._zip: BinaryIO | None = None
        self._entries: list[Entry] = []
        self._folder: Path | None = None
        self._count = 0

    def __enter__(self) -> Self:
        if is_zip_name(self.dest):
            check_no_folder(self.dest)
            self._zip = self._end.enter_context(open_replacing(self.dest))
        else:
            self._folder = self._end.enter_context(replacing_folder(self.dest))
        return self

    def add(self, image: Image.Image, label: int | None = None) -> str:
        """Append a picture, and return the name it got. Label all pictures or none."""
        name = picture_name(self._count)
        self._write(name, png.encode(image))
        self._count += 1
        if label is not None:
            self._labels.append([name, int(label)])
        return name

    def __exit__(self, *failure: Any) -> None:
        try:
            if failure[0] is None:
                self._finish()
        except BaseException:
            self._end.__exit__(*sys.exc_info())
            raise
        self._end.__exit__(*failure)

    def _finish(self) -> None:
        if not self._count:
            raise ValueError(f"{self.dest} would hold no images and was not written")
        if self._labels and len(self._labels) != self._count:
            raise ValueError(f"only {len(self._labels)} of the {self._count} images for {self.dest} have a label")
        index = {"labels": self._labels or None, **self.about}
        self._write(INDEX, json.dumps(index).encode())
        if self._zip is not None:
            write_directory(self._zip, self._entries, self._entries[-1].end)

    def _write(self, name: str, data: bytes) -> None:
        if self._zip is not None:
            entry = Entry.of(name, data, self._entries[-1].end if self._entries else 0)
            self._zip.write(header(entry) + data)
            self._entries.append(entry)
        elif self._folder is not None:
            (self._folder / name).parent.mkdir(exist_ok=True)
            (self._folder / name).write_bytes(data)


def picture_name(number: int) -> str:
    """Where picture `number` of a set lies."""
    return f"{number // 1000:05d}/img{number:08d}.png"


def is_zip_name(dest: Path) -> bool:
    """Whether what is written to `dest` is a ZIP; else it is a folder."""
    return dest.suffix.lower() == ".zip"


def check_no_folder(dest: Path) -> None:
    """ValueError when a folder lies where a ZIP is to be."""
    if dest.is_dir():
        raise ValueError(f"{dest} is a folder: name a ZIP file that does not exist yet")
