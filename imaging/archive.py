"""The data set format: a ZIP or folder of pictures, with the labels in `dataset.json`. Reader and writer.

    00000/img00000000.png
    00000/img00000001.png
    dataset.json            {"labels": [["00000/img00000000.png", 3], ...], "class_names": ["cat", ...]}
    sources.csv             file,source: what each picture was called before; for people, and not read

`labels` may be null or absent, `class_names` is optional, other keys are kept for whoever knows them.
"""

import json
import os
import sys
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Self

from PIL import Image

from imaging import png
from imaging.picture import SOURCE_SUFFIXES, TRAINING_SUFFIXES
from imaging.storedzip import Entry, header, write_directory
from system.files import open_replacing, replacing_folder

INDEX = "dataset.json"
SOURCES = "sources.csv"
CHECKED_BYTES = 4096  # at either end of a picture in a folder
LARGEST_FILE = 2**29  # bytes: nothing that unpacks to more is a picture for training


class Archive(ABC):
    """Read access to the pictures of a ZIP or folder. Nothing is ever extracted, so names cannot do harm.

    `names` are the pictures, sorted; `sizes` their bytes; `checksums` their CRC-32, in a ZIP of all their bytes, in a
    folder of the first and the last.
    Instances can be pickled and forked: every process opens its own file.
    """

    def __init__(self, path: Path, sizes: dict[str, int], checksums: dict[str, int], suffixes: tuple[str, ...]) -> None:
        visible = sorted(name for name in sizes if not _is_hidden(name))
        self.path = path
        self.names = tuple(name for name in visible if name.lower().endswith(suffixes))
        self.sizes = {name: sizes[name] for name in self.names}
        self.checksums = {name: checksums.get(name, 0) for name in self.names}
        indexes = [name for name in visible if name.rpartition("/")[2] == INDEX]
        self._index_name = min(indexes, key=lambda name: name.count("/"), default=None)
        if not self.names:
            kinds = ", ".join(suffix.lstrip(".") for suffix in suffixes)
            other = "" if suffixes == SOURCE_SUFFIXES else ", or make a set of other kinds with dataset_tool.py"
            raise ValueError(f"{path} holds no images ({kinds}): give a ZIP or folder that does{other}")

    @abstractmethod
    def _open(self, name: str) -> BinaryIO: ...

    def open(self, name: str) -> BinaryIO:
        """The named file, for reading. ValueError when the container cannot give it."""
        with self._blaming(name):
            return self._open(name)

    def read(self, name: str) -> bytes:
        """All bytes of the named file. ValueError when it is too large, damaged, or gone."""
        if self.sizes.get(name, 0) > LARGEST_FILE:
            raise ValueError(f"{name} in {self.path} has {self.sizes[name]} bytes; at most {LARGEST_FILE} are accepted")
        with self._blaming(name), self._open(name) as file:
            return file.read(LARGEST_FILE)

    @contextmanager
    def _blaming(self, name: str) -> Iterator[None]:
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:  # whatever damage leads to, in whichever decompressor
            reason = _printable(getattr(error, "strerror", None) or str((error.args or [type(error).__name__])[0]))
            raise ValueError(f"{name} in {self.path} cannot be read: {reason}") from error

    @cached_property
    def index(self) -> dict[str, Any]:
        """What `dataset.json` says; empty when there is none. ValueError when it is not a JSON object."""
        if self._index_name is None:
            return {}
        try:
            index = json.loads(self.read(self._index_name))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{self._index_name} in {self.path} is not valid JSON: {error}") from error
        if not isinstance(index, dict):
            raise ValueError(f'{self._index_name} in {self.path} must hold an object such as {{"labels": ...}}')
        return index

    @property
    def labels(self) -> dict[str, Any] | None:
        """Picture name -> label as written in `dataset.json`, or None. ValueError when the list is malformed."""
        pairs = self.index.get("labels")
        if pairs is None:
            return None
        folder = self._index_name.rpartition("/")[0] if self._index_name else ""
        labels: dict[str, Any] = {}
        for pair in pairs if isinstance(pairs, list) else [None]:
            if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
                raise ValueError(f"the labels in {INDEX} of {self.path} must be a list of [name, class] pairs")
            name = "/".join(filter(None, (folder, pair[0].replace("\\", "/"))))
            if name in labels:
                raise ValueError(f"{INDEX} of {self.path} labels {name} twice")
            labels[name] = pair[1]
        return labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, or empty when `dataset.json` gives none."""
        names = self.index.get("class_names")
        return tuple(map(str, names)) if isinstance(names, list) else ()


class ZipArchive(Archive):
    """Pictures in a ZIP."""

    def __init__(self, path: Path, suffixes: tuple[str, ...] = TRAINING_SUFFIXES) -> None:
        self._zip: zipfile.ZipFile | None = None
        self._owner = 0
        try:
            with zipfile.ZipFile(path) as container:
                entries = [entry for entry in container.infolist() if entry.filename and not entry.is_dir()]
        except (OSError, MemoryError):
            raise
        except Exception as error:  # whatever a damaged directory leads to
            raise ValueError(
                f"{path} is not a complete ZIP file ({_printable(str(error))}): "
                f"copy or make it again, or give a folder of images"
            ) from error
        sizes = {entry.filename: entry.file_size for entry in entries}
        super().__init__(path, sizes, {entry.filename: entry.CRC for entry in entries}, suffixes)

    def _open(self, name: str) -> BinaryIO:
        # A handle inherited over a fork would share its place in the file with the parent.
        if self._zip is None or self._owner != os.getpid():
            self._zip, self._owner = zipfile.ZipFile(self.path), os.getpid()
        return self._zip.open(name)  # type: ignore[return-value]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_zip": None}


class FolderArchive(Archive):
    """Pictures in a folder and its sub-folders, of which those that training runs made are passed over."""

    def __init__(self, path: Path, suffixes: tuple[str, ...] = TRAINING_SUFFIXES) -> None:
        sizes, checksums = {}, {}
        for folder, below, names in os.walk(path, onerror=_raise, followlinks=True):
            below[:] = [name for name in below if not _is_run(Path(folder, name)) and not _leads_up(folder, name)]
            for name in names:
                file = Path(folder, name)
                key = file.relative_to(path).as_posix()
                if file.is_file():  # and no link that leads nowhere
                    sizes[key] = file.stat().st_size
                    if file.suffix.lower() in suffixes:
                        checksums[key] = _checksum(file)
        super().__init__(path, sizes, checksums, suffixes)

    def _open(self, name: str) -> BinaryIO:
        return (self.path / name).open("rb")


def _leads_up(folder: str, name: str) -> bool:
    """Whether a sub-folder is a link to a folder that it lies in, where walking would never end."""
    link = Path(folder, name)
    return link.is_symlink() and Path(folder).resolve().is_relative_to(link.resolve())


def _checksum(file: Path) -> int:
    """Of a picture's first and last bytes, which tells pictures of equal length apart without reading them whole."""
    with file.open("rb") as stream:
        found = zlib.crc32(stream.read(CHECKED_BYTES))
        stream.seek(-min(CHECKED_BYTES, file.stat().st_size), os.SEEK_END)
        return zlib.crc32(stream.read(), found)


def open_archive(path: str | Path, suffixes: tuple[str, ...] = TRAINING_SUFFIXES) -> Archive:
    """The ZIP or folder at `path`. Files with other endings, hidden ones and `__MACOSX` are ignored.

    FileNotFoundError when nothing is there; ValueError when it cannot be read or holds no pictures.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give a ZIP or a folder of images")
    try:
        return FolderArchive(path, suffixes) if path.is_dir() else ZipArchive(path, suffixes)
    except PermissionError as error:
        raise ValueError(
            f"{error.filename or path} may not be read: change its permissions, or give another"
        ) from error


class ArchiveWriter:
    """Writes an archive, in a `with` block: what stands at `dest` is replaced at its end, or not at all.

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


def _is_hidden(name: str) -> bool:
    """Whether a file is not meant to be seen: `.DS_Store`, `__MACOSX/._a.png` and the like."""
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in name.split("/"))


def _is_run(folder: Path) -> bool:
    """Whether training made the folder: its sheets of samples are PNGs, but no pictures to learn from."""
    return (folder / "config.json").is_file() and any((folder / n).is_file() for n in ("log.txt", "stats.jsonl"))


def _printable(reason: str) -> str:
    """What can be shown of a reason: some quote the bytes they stumbled on."""
    line = (reason.splitlines() or [""])[0]
    return line if len(line) <= 120 else f"{line[:120]}..."


def _raise(error: OSError) -> None:
    raise error
