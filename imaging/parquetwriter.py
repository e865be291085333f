"""Writes a Parquet file as the Hugging Face Hub has data sets of images: columns `image` and, with classes, `label`.

Each image is {"bytes": a PNG file, "path": its name}. The key `huggingface` of the metadata tells the library
`datasets` that the columns are an Image and a ClassLabel, and the names of the classes.
"""

import json
from pathlib import Path
from typing import Any, Self

from imaging.setwriter import Writer
from system.files import open_replacing

TOGETHER = 100  # images in a row group, which readers have in memory at once


def is_parquet_dest(dest: str | Path) -> bool:
    """Whether `dest` means a Parquet file."""
    return Path(dest).suffix.lower() == ".parquet"


def check_package() -> None:
    """Raise ValueError if Parquet files cannot be written."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ValueError("writing parquet files needs the package pyarrow: pip install pyarrow") from error


class ParquetWriter(Writer):
    """Writes one Parquet file, which is replaced if it exists; `about["class_names"]` comes before the first image."""

    def __enter__(self) -> Self:
        check_package()
        self._file = self._end.enter_context(open_replacing(self.dest))
        self._waiting: list[dict[str, Any]] = []
        self._writer: Any = None
        return self

    def _append(self, data: bytes, number: int) -> str:
        name, label = f"{number:08d}.png", self._labels[number]
        image = {"bytes": data, "path": name}
        self._waiting.append({"image": image} if label is None else {"image": image, "label": label})
        if len(self._waiting) == TOGETHER:
            self._flush()
        return name

    def _finish(self, count: int) -> None:
        if not count:
            raise ValueError(f"{self.dest} would hold no images and was not written")
        if self._waiting:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow
        from pyarrow.parquet import ParquetWriter as Parquet

        if self._writer is None:
            self._writer = Parquet(self._file, self._schema(), compression="zstd")
        self._writer.write_table(pyarrow.Table.from_pylist(self._waiting, self._writer.schema), TOGETHER)
        self._waiting = []

    def _schema(self) -> Any:
        import pyarrow

        columns = {"image": pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})}
        features: dict[str, Any] = {"image": {"_type": "Image"}}
        if self._labels[0] is not None:
            columns["label"] = pyarrow.int64()
            features["label"] = {"_type": "Value", "dtype": "int64"}
            if names := self.about.get("class_names"):
                features["label"] = {"_type": "ClassLabel", "names": list(names)}
        stated = {"huggingface": json.dumps({"info": {"features": features}})}
        return pyarrow.schema(list(columns.items()), metadata=stated)
