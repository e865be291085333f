"""The data set format: a ZIP or folder of images, with the labels in `dataset.json`.

    00000/img00000000.png
    00000/img00000001.png
    dataset.json            {"labels": [["00000/img00000000.png", 3], ...], "class_names": ["cat", ...]}
    sources.csv             file,source: what each image was called before; for people, not read

`labels` may be null or absent, `class_names` is optional, other keys are ignored.
"""

import io
import os
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from imaging.filenames import (
    SOURCE_KINDS,
    SOURCE_SUFFIXES,
    TRAINING_SUFFIXES,
    by_any_case,
    in_utf8,
    is_hidden,
    passed_over,
    plain,
    some,
    walk,
)
from imaging.opening import LARGEST_FILE, open_file, parsing, reason
from system.text import printable
from system.untrusted import json_object, mistaken

INDEX = "dataset.json"
SOURCES = "sources.csv"
PACKED = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # methods that unpack no more at a time than is asked for
UTF8 = 0x800  # flag of a name in a ZIP
SEEKING = (b"II", b"MM")  # beginnings of TIFFs, whose header may be anywhere


class Entry(NamedTuple):
    """A file in an archive: its name there and as messages show it, and what changes if the file does.

    `checksum` is the CRC-32 in a ZIP's directory, `changed` the times of change (ns) of a file in a folder.
    """

    raw: str
    name: str
    size: int
    checksum: int = 0
    changed: tuple[int, int] = (0, 0)


class Archive(ABC):
    """Read access to the images of a ZIP or folder. Nothing is ever extracted, so names cannot do harm.

    `names` are the images, in the order of their names in the archive; `entries` describe them; `passed` has sentences
    on skipped files. Instances can be pickled and forked: every process opens its own file.
    """

    def __init__(self, path: Path, entries: Iterable[Entry], suffixes: tuple[str, ...], passed: list[str]) -> None:
        self.path = path
        known: dict[str, Entry] = {}
        twice = []
        for entry in sorted(entries, key=lambda entry: entry.raw):
            if entry.name and not is_hidden(entry.name):
                twice += [entry.name] if entry.name in known else []
                known[entry.name] = entry
        self.entries = {name: entry for name, entry in known.items() if name.lower().endswith(suffixes)}
        self.names = tuple(self.entries)
        indexes = [entry for name, entry in known.items() if name.rpartition("/")[2] == INDEX]
        self._index = min(indexes, key=lambda entry: entry.name.count("/"), default=None)
        ours = (self._index.name if self._index else None, SOURCES)
        others = (name for name in known if name not in self.entries and name not in ours)
        self.passed = [*passed_over(others, suffixes), *passed]
        if twice:
            self.passed.append(f"two files are called {some(twice)}: the later one is read")
        if not self.names:
            kinds, other = SOURCE_KINDS, ""
            if suffixes != SOURCE_SUFFIXES:
                kinds = ", ".join(end.lstrip(".") for end in suffixes)
                other = ", or make a set of other kinds with dataset_tool.py"
            left = "".join(f"; {sentence}" for sentence in self.passed)
            raise ValueError(f"{path} holds no images ({kinds}): give a ZIP or folder with some{other}{left}")

    @abstractmethod
    def _open(self, entry: Entry) -> BinaryIO:
        """Open a file of the archive. Callers turn whatever is raised into one sentence."""

    def open(self, name: str) -> BinaryIO:
        """The named image, for reading. ValueError if it is too large, or cannot be read."""
        with self._reading(self.entries[name], LARGEST_FILE):
            return self._open(self.entries[name])

    def read(self, name: str) -> bytes:
        """All bytes of the named image. ValueError if it is too large, damaged, or gone."""
        return self._read(self.entries[name], LARGEST_FILE)

    def _read(self, entry: Entry, most: int) -> bytes:
        with self._reading(entry, most), self._open(entry) as file:
            return file.read(entry.size + 1)  # never more, whatever the compressed data holds

    @contextmanager
    def _reading(self, entry: Entry, most: int) -> Iterator[None]:
        if entry.size > most:
            raise ValueError(f"{entry.name} in {self.path} has {entry.size} bytes, but at most {most} are accepted")
        try:
            yield
        except Exception as error:  # decompressors raise nearly anything
            raise ValueError(f"{entry.name} in {self.path} cannot be read: {reason(error)}") from error

    @cached_property
    def index(self) -> dict[str, Any]:
        """The content of `dataset.json`; empty if there is none. ValueError if it is not a JSON object."""
        if self._index is None:
            return {}
        index = json_object(self._read(self._index, min(LARGEST_FILE, index_limit(len(self.names)))))
        if index is None:
            raise ValueError(f'{self._index.name} in {self.path} is not a JSON object such as {{"labels": ...}}')
        return index

    @property
    def labels(self) -> dict[str, Any] | None:
        """Image name -> label as written in `dataset.json`, or None. ValueError if the list is malformed."""
        pairs = self.index.get("labels")
        if pairs is None:
            return None
        folder = self._index.name.rpartition("/")[0] if self._index else ""
        spelled = {by_any_case(name): name for name in self.names}
        labels: dict[str, Any] = {}
        for pair in pairs if isinstance(pairs, list) else [None]:
            if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
                raise ValueError(f"the labels in {INDEX} of {self.path} must be a list of [name, class] pairs")
            name = "/".join(filter(None, (folder, plain(pair[0]))))
            name = name if name in self.entries else spelled.get(by_any_case(name), name)
            if name in labels:
                raise ValueError(f"{INDEX} of {self.path} labels {name} twice")
            labels[name] = pair[1]
        return labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; empty if `dataset.json` has none."""
        names = self.index.get("class_names")
        return tuple(printable(str(n) if isinstance(n, int) else n) for n in names) if isinstance(names, list) else ()


def index_limit(images: int) -> int:
    """Bytes that `dataset.json` may have in a set of so many images."""
    return 2**24 + 2**10 * images


class ZipArchive(Archive):
    """Images in a ZIP."""

    def __init__(self, path: Path, suffixes: tuple[str, ...] = TRAINING_SUFFIXES) -> None:
        self._zip: zipfile.ZipFile | None = None
        self._owner = 0
        copy = "copy or make it again, or give a folder of images"
        with parsing(path, "a complete ZIP file", copy), open_file(path) as file:
            if what := mistaken(path):
                raise zipfile.BadZipFile(f"it is {what}")
            with zipfile.ZipFile(file) as container:
                members = [info for info in container.infolist() if info.filename and not info.is_dir()]
        # Many programs omit the UTF-8 flag; Python then assumes cp437.
        spelled = (info.filename if info.flag_bits & UTF8 else in_utf8(info.filename) for info in members)
        entries = [Entry(m.filename, plain(name), m.file_size, m.CRC) for m, name in zip(members, spelled, strict=True)]
        super().__init__(path, entries, suffixes, [])

    def _open(self, entry: Entry) -> BinaryIO:
        # A file inherited over a fork would share its place with the parent's.
        if self._zip is None or self._owner != os.getpid():
            self._zip, self._owner = zipfile.ZipFile(open_file(self.path)), os.getpid()
        info = self._zip.getinfo(entry.raw)
        if info.compress_type not in PACKED:
            method = zipfile.compressor_names.get(info.compress_type, "unknown")  # type: ignore[attr-defined]
            raise ValueError(f"it is compressed with {method}: make the ZIP again with deflate")
        file = cast(zipfile.ZipExtFile, self._zip.open(info))
        if info.compress_type != zipfile.ZIP_STORED and file.peek(2)[:2] in SEEKING:  # seeking would unpack again
            return io.BytesIO(file.read(entry.size + 1))
        return file  # type: ignore[return-value]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_zip": None}


class FolderArchive(Archive):
    """Images in a folder and its sub-folders, without checksums."""

    def __init__(self, path: Path, suffixes: tuple[str, ...] = TRAINING_SUFFIXES) -> None:
        entries, passed = [], list[str]()
        for raw, state in walk(path, passed):
            changed = (state.st_mtime_ns, state.st_ctime_ns)
            entries.append(Entry(raw, plain(raw), state.st_size, changed=changed))
        super().__init__(path, entries, suffixes, passed)

    def _open(self, entry: Entry) -> BinaryIO:
        return open_file(self.path / entry.raw)


def open_archive(path: str | Path, suffixes: tuple[str, ...] = TRAINING_SUFFIXES) -> Archive:
    """The ZIP or folder at `path`. FileNotFoundError or ValueError if it cannot be read, or has no images."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give a ZIP or a folder of images")
    try:
        return FolderArchive(path, suffixes) if path.is_dir() else ZipArchive(path, suffixes)
    except PermissionError as error:
        raise ValueError(f"no permission to read {error.filename or path}: change it, or give another path") from error
