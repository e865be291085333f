"""CIFAR-10 and CIFAR-100 as published for Python: pickles, packed (.tar.gz) or unpacked."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from imaging.labels import MOST_CLASSES, Labels
from imaging.opening import RefusedError, open_file, parsing
from imaging.sources.arraypickle import read_arrays
from imaging.sources.source import ArraySource
from imaging.sources.tar import opened
from system.text import printable

TEN = {f"data_batch_{i}" for i in range(1, 6)}
FILES = {*TEN, "batches.meta", "train", "meta"}
SIDE = 32
LARGEST = 2**28  # bytes of a file: CIFAR-100 has 155 million
OFFICIAL = "get it again from the official site"


def is_cifar(names: set[str]) -> bool:
    """Whether files of these names are CIFAR."""
    return names >= TEN or {"train", "meta"} <= names


def open_cifar(path: Path) -> ArraySource:
    """The training images of CIFAR-10, or of CIFAR-100 with its fine classes."""
    files = dict(_files(path))
    ten = "batches.meta" in files or bool(TEN & files.keys())
    wanted, meta = (sorted(TEN), "batches.meta") if ten else (["train"], "meta")
    if missing := [name for name in [*wanted, meta] if name not in files]:
        raise ValueError(f"{path} looks like CIFAR, but has no {missing[0]}: {OFFICIAL}")
    names = _load(files.pop(meta), path).get("label_names" if ten else "fine_label_names")
    pixels, labels = [], []
    for name in wanted:
        where = f"{name} in {path}"
        batch = _load(files.pop(name), where)
        pixels.append(_pixels(batch.get("data"), where))
        labels.append(_labels(batch.get("labels" if ten else "fine_labels"), len(pixels[-1]), where))
    values = np.concatenate(labels)
    count, kind = int(values.max(initial=0)) + 1, "CIFAR-10" if ten else "CIFAR-100"
    known = names if isinstance(names, list) and len(names) >= count else list(map(str, range(count)))
    texts = (name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in known)
    taken = Labels(values, tuple(map(printable, texts)), f"labels of {kind}")
    return ArraySource(path, kind, "train/{:05d}", np.concatenate(pixels), taken)


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for name in sorted(FILES):
            if (path / name).exists():
                with open_file(path / name) as file:
                    yield name, _within(file.read(LARGEST + 1), name, path)
        return
    with opened(path) as (file, members):
        for member in members:
            name = PurePosixPath(member.name).name
            if name in FILES and member.isreg():
                file.seek(member.offset_data)
                yield name, _within(file.read(min(member.size, LARGEST + 1)), name, path)


def _within(data: bytes, name: str, path: Path) -> bytes:
    if len(data) > LARGEST:
        raise RefusedError(f"{name} in {path} has more than {LARGEST} bytes: {OFFICIAL}")
    return data


def _load(data: bytes, name: object) -> dict[str, Any]:
    with parsing(name, "a file of CIFAR", OFFICIAL):
        return read_arrays(data)


def _pixels(data: Any, name: str) -> np.ndarray:
    """uint8 [N, 32, 32, 3]."""
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != 3 * SIDE**2:
        raise ValueError(f"the data of {name} must be bytes [N, {3 * SIDE**2}]: {OFFICIAL}")
    return data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)


def _labels(labels: Any, count: int, name: str) -> np.ndarray:
    whole = isinstance(labels, list) and all(type(label) is int and 0 <= label < MOST_CLASSES for label in labels)
    if not whole or len(labels) != count:
        raise ValueError(f"the labels of {name} must be {count} class numbers: {OFFICIAL}")
    return np.array(labels, dtype=np.int64)
