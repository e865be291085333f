"""Databases of image files: LSUN (LMDB), and Hugging Face data sets (parquet).

The library of LMDB maps a database into memory and trusts every number in it, so that a damaged or hostile file can
crash the process. Therefore another process reads it, and its death is an error like any other. A parquet file has
images in a column of {bytes, path}, and class names in the schema's metadata.
"""

import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from imaging.labels import Labels, classes_of
from imaging.opening import LARGEST_FILE, RefusedError, check_file, parsing
from imaging.sources.source import SequentialSource, needing
from system.text import printable

FOUND, FAILED = b"=", b"!"

Ask = Callable[[bytes], bytes]
LARGEST_METADATA = 2**24  # bytes of a text in a file's metadata
TOGETHER = 16  # rows that are in memory at once
LABELS = ("label", "labels", "fine_label", "class")  # usual names of their column

Features = dict[str, dict[str, Any]]


class LsunSource(SequentialSource):
    """The images in the order of their keys."""

    kind = "an LSUN database"

    def __init__(self, path: Path) -> None:
        file = path / "data.mdb" if path.is_dir() else path
        check_file(file)
        needing("lmdb", "LSUN databases")
        with parsing(file, "a complete LMDB database", "copy it again"), _reader(file) as ask:
            self._keys = [bytes.fromhex(key) for key in ask(b"").decode().split()]
        super().__init__(path, tuple(printable(key.decode("latin-1")) for key in self._keys), [file])

    def part(self, number: int) -> Iterator[Callable[[], bytes]]:
        with _reader(self.files[0]) as ask:
            yield from (partial(ask, key) for key in self._keys)


@contextmanager
def _reader(file: Path) -> Iterator[Ask]:
    """Start a process that reads a database: it gives the value of a key, or all keys in hexadecimal for b"".

    ValueError if the value cannot be read; RefusedError if the process dies.
    """
    context = multiprocessing.get_context("spawn")
    pipe, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, str(file.absolute())), daemon=True)
    process.start()
    there.close()

    def ask(key: bytes) -> bytes:
        try:
            pipe.send_bytes(key)
            answer = pipe.recv_bytes(LARGEST_FILE + 1)
        except (OSError, EOFError) as error:
            why = "the process that reads it crashed"
            raise RefusedError(
                f"{printable(str(file))} is not a complete LMDB database ({why}): copy it again"
            ) from error
        if answer[:1] != FOUND:
            raise ValueError(answer[1:].decode("utf-8", "replace"))
        return answer[1:]

    try:
        yield ask
    finally:
        process.kill()
        process.join()
        pipe.close()


def _serve(pipe: Connection, path: str) -> None:
    """Answer questions until the pipe is closed."""
    import lmdb

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets Ctrl-C too, and ends its reader
    transaction = None
    with suppress(EOFError):
        while True:
            key = pipe.recv_bytes()
            try:
                if transaction is None:
                    # Nothing is written to the folder, not even a lock: data sets may lie on read-only disks.
                    database = lmdb.open(path, subdir=False, readonly=True, lock=False, readahead=False, create=False)
                    transaction = database.begin(buffers=True)
                answer = FOUND + (_value(transaction, key) if key else b" ".join(_keys(transaction.cursor())))
            except Exception as error:  # the library's errors have no other common parent
                answer = FAILED + str(error).removeprefix(f"{path}: ").encode()[:200]
            pipe.send_bytes(answer)


def _value(transaction: Any, key: bytes) -> bytes:
    found = transaction.get(key, b"")
    if not 0 < len(found) <= LARGEST_FILE:
        raise ValueError(f"it has {len(found)} bytes, expected 1 to {LARGEST_FILE}")
    return bytes(found)


def _keys(cursor: Any) -> Iterator[bytes]:
    """The keys in order, in hexadecimal; damage may lead around in circles."""
    before = b""
    for key in map(bytes, cursor.iternext(values=False)):
        if key <= before:
            raise ValueError("its keys are not in order")
        yield key.hex().encode()
        before = key


class ParquetSource(SequentialSource):
    """The images of parquet files, file by file and row by row: of one file, or of the training part of a folder."""

    kind = "Hugging Face parquet"

    def __init__(self, path: Path) -> None:
        files = parquet_files(path) if path.is_dir() else [path]
        opened = [_open(file) for file in files]
        counts = [file.metadata.num_rows for file in opened]
        with _parsing(files[0]):
            schema = opened[0].schema_arrow
            self._features = _features(schema.metadata)
            self._image, self._label = _columns(schema, self._features, files[0])
        super().__init__(path, [f"row{i:08d}" for i in range(sum(counts))], files, counts)
        if len(files) > 1:
            self.notes.append(f"{len(files)} files are read, {files[0].name} first")

    def part(self, number: int) -> Iterator[Callable[[], bytes]]:
        return (partial(_content, cell) for cell in _cells(self.files[number], self._image, TOGETHER))

    def labels(self) -> Labels:
        if self._label is None:
            return super().labels()
        cells = [cell for file in self.files for cell in _cells(file, self._label)]
        try:
            values, names = classes_of(cells, lambda row: f"the label in row {row} of {self.path}")
        except ValueError as error:
            raise ValueError(f"{error}: use --labels none") from error
        known = self._features.get(self._label, {}).get("names")
        are_numbers = names == tuple(map(str, range(len(names)))) and not any(isinstance(cell, str) for cell in cells)
        if are_numbers and isinstance(known, list) and len(known) >= len(names):
            names = tuple(map(str, known))
        return Labels(values, tuple(map(printable, names)), f"labels of the column {printable(self._label, 60)}")


def parquet_files(folder: Path) -> list[Path]:
    """The files of a folder, or of `data` in it; only the training part if there is one."""
    for place in (folder, folder / "data"):
        files = sorted(file for file in place.glob("*.parquet") if file.is_file() and file.name[0] != ".")
        if files:
            return [file for file in files if file.name.startswith("train")] or files
    return []


def _open(file: Path) -> Any:
    needing("pyarrow", "parquet files")
    from pyarrow.parquet import ParquetFile

    with _parsing(file):
        check_file(file)
        return ParquetFile(file.absolute(), thrift_string_size_limit=LARGEST_METADATA)


def _parsing(file: Path) -> AbstractContextManager[None]:
    return parsing(file, "a complete parquet file", "get it again")


def _cells(file: Path, column: str, together: int = 2**16) -> Iterator[Any]:
    """The cells of a column, `together` of them in memory. ValueError for a damaged file."""
    opened = _open(file)
    with _parsing(file):
        if column not in opened.schema_arrow.names:
            raise RefusedError(
                f"{file} has no column {printable(column, 60)} as the first file: give the files one by one"
            )
        for batch in opened.iter_batches(batch_size=together, columns=[column]):
            for cell in batch.column(0):
                yield cell.as_py()


def _content(cell: Any) -> bytes:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if isinstance(data, bytes) and 0 < len(data) <= LARGEST_FILE:
        return data
    where = cell.get("path") if isinstance(cell, dict) else None
    raise ValueError(f"only its path {printable(where, 100)} is there" if where else "it is empty")


def _features(metadata: dict[bytes, bytes] | None) -> Features:
    """What the library `datasets` wrote about each column; empty if it did not."""
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _columns(schema: Any, features: Features, file: Path) -> tuple[str, str | None]:
    """The names of the columns of images and of labels."""
    import pyarrow.types as types

    kinds = {name: features.get(name, {}).get("_type") for name in schema.names}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    images += [
        field.name for field in schema if types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
    ]
    images += [field.name for field in schema if types.is_binary(field.type) or types.is_large_binary(field.type)]
    if not images:
        columns = printable(", ".join(schema.names), 200)
        raise RefusedError(f"{file} has no column of images (its columns are {columns}): give another")
    marked = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    usual = [name for name in LABELS if name in kinds]
    return images[0], next(iter([name for name in usual if name in marked] or marked or usual), None)
