"""Hugging Face data sets as parquet: images in a column of {bytes, path}, class names in the schema's metadata."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from imaging.labels import Labels, classes_of
from imaging.opening import LARGEST_FILE, RefusedError, check_file, parsing
from imaging.sources.source import Content, Numbered, SequentialSource, identity_of, needing
from system.text import printable

LARGEST_METADATA = 2**24  # bytes of a text in a file's metadata
TOGETHER = 16  # rows that are in memory at once


class ParquetSource(SequentialSource):
    """The images of parquet files, file by file and row by row."""

    kind = "Hugging Face parquet"

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        self.files = tuple(files)
        opened = [_open(file) for file in self.files]
        self._rows = [file.metadata.num_rows for file in opened]
        with _parsing(self.files[0]):
            schema = opened[0].schema_arrow
            self._features = _features(schema.metadata)
            self._image = _image_column(schema, self._features, self.files[0])
            self._label = _label_column(schema, self._features)
        super().__init__(path, Numbered("row{:08d}", sum(self._rows)))

    def stream(self, indices: Iterable[int]) -> Iterator[tuple[int, Content | ValueError]]:
        wanted = iter(indices)
        i, start = next(wanted, None), 0
        for file, rows in zip(self.files, self._rows, strict=True):
            if i is None:
                return
            if i < start + rows:
                for row, cell in enumerate(_cells(file, self._image, TOGETHER), start):
                    if row == i:
                        yield i, _content(cell, f"{self.names[i]} in {self.path}")
                        i = next(wanted, None)
                    if i is None:
                        return
            start += rows

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

    def identity(self) -> str:
        return identity_of(self.files)


def parquet_files(folder: Path) -> list[Path]:
    """The files of a folder, or of `data` in it; only the training part if there is one."""
    for place in (folder, folder / "data"):
        files = sorted(file for file in place.glob("*.parquet") if file.is_file() and file.name[0] != ".")
        if files:
            return [file for file in files if file.name.startswith("train")] or files
    return []


def open_parquet(path: Path) -> ParquetSource:
    """A file, or the training part in a folder."""
    files = parquet_files(path) if path.is_dir() else [path]
    source = ParquetSource(path, files)
    if len(files) > 1:
        source.notes.append(f"{len(files)} files are read, {files[0].name} first")
    return source


def _open(file: Path) -> Any:
    with needing("pyarrow", "parquet files"):
        import pyarrow  # noqa: F401
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


def _content(cell: Any, name: str) -> bytes | ValueError:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if isinstance(data, bytes) and 0 < len(data) <= LARGEST_FILE:
        return data
    where = cell.get("path") if isinstance(cell, dict) else None
    why = f"only its path {printable(where, 100)} is there" if where else "it is empty"
    return ValueError(f"{name} cannot be read: {why}")


def _features(metadata: dict[bytes, bytes] | None) -> dict[str, dict[str, Any]]:
    """What the library `datasets` wrote about each column; empty if it did not."""
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _image_column(schema: Any, features: dict[str, dict[str, Any]], file: Path) -> str:
    import pyarrow.types as types

    marked = [name for name in schema.names if features.get(name, {}).get("_type") == "Image"]
    pictures = [f.name for f in schema if types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0]
    plain = [f.name for f in schema if types.is_binary(f.type) or types.is_large_binary(f.type)]
    if found := marked or pictures or plain:
        return str(found[0])
    columns = printable(", ".join(schema.names), 200)
    raise RefusedError(f"{file} has no column of images (its columns are {columns}): give another")


def _label_column(schema: Any, features: dict[str, dict[str, Any]]) -> str | None:
    marked = [name for name in schema.names if features.get(name, {}).get("_type") == "ClassLabel"]
    usual = [name for name in ("label", "labels", "fine_label", "class") if name in schema.names]
    return next(iter([name for name in usual if name in marked] or marked or usual), None)
