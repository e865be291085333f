"""Hugging Face data sets as parquet: images in a column of {bytes, path}, class names in the schema's metadata."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from imaging.labels import Labels, classes_of
from imaging.opening import LARGEST_FILE, RefusedError, check_file, parsing
from imaging.sources.source import Numbered, SequentialSource, needing
from system.text import printable

LARGEST_METADATA = 2**24  # bytes of a text in a file's metadata
TOGETHER = 16  # rows that are in memory at once
LABELS = ("label", "labels", "fine_label", "class")  # usual names of their column

Features = dict[str, dict[str, Any]]


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
        super().__init__(path, Numbered(["row"], [sum(counts)]), files, counts)
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
