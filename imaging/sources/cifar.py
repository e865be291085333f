"""CIFAR-10 and CIFAR-100 as published for Python: pickles, packed (.tar.gz) or unpacked.

A pickle can call any function by its name. Here a name must stand in `ALLOWED`, or the file is refused.
"""

import io
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from imaging.archive import LARGEST_FILE
from imaging.labels import MOST_CLASSES, Labels
from imaging.sources.source import ArraySource
from imaging.sources.tar import DAMAGE

TEN = {f"data_batch_{i}" for i in range(1, 6)}
FILES = {*TEN, "batches.meta", "train", "meta"}
SIDE = 32

_RECONSTRUCT = np.empty(0).__reduce__()[0]  # what numpy's own pickles name to make an array
ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise ValueError(f"it asks for {module}.{name}, which no picture needs: it is not from the official site")
        return ALLOWED[module, name]


def is_cifar(names: set[str]) -> bool:
    """Whether files of these names are CIFAR."""
    return names >= TEN or {"train", "meta"} <= names


def open_cifar(path: Path) -> ArraySource:
    """The training pictures (test pictures are left alone) of CIFAR-10, or CIFAR-100 with its fine classes."""
    files = dict(_files(path))
    ten = "batches.meta" in files or bool(TEN & files.keys())
    wanted = sorted(TEN) if ten else ["train"]
    if missing := [name for name in [*wanted, "batches.meta" if ten else "meta"] if name not in files]:
        raise ValueError(f"{path} looks like CIFAR, but has no {missing[0]}: get it again from the official site")
    meta = _load(files.pop("batches.meta" if ten else "meta"), path)
    names = meta.get(b"label_names" if ten else b"fine_label_names")
    pixels, labels = [], []
    for name in wanted:
        batch = _load(files.pop(name), f"{name} in {path}")
        pixels.append(_pixels(batch, f"{name} in {path}"))
        labels.append(_labels(batch.get(b"labels" if ten else b"fine_labels"), len(pixels[-1]), f"{name} in {path}"))
    values = np.concatenate(labels)
    class_names = _class_names(names, int(values.max(initial=0)) + 1)
    kind = "CIFAR-10" if ten else "CIFAR-100"
    taken = Labels(values, class_names, f"labels of {kind}")
    return ArraySource(path, kind, "train/{:05d}", pixels, taken)


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for name in FILES:
            if (path / name).is_file():
                yield name, (path / name).read_bytes()
        return
    try:
        with tarfile.open(path, "r|*") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                file = tar.extractfile(member) if member.isreg() and member.size <= LARGEST_FILE else None
                if file is not None and name in FILES:
                    yield name, file.read()
    except DAMAGE as error:
        raise ValueError(f"{path} is not a complete tar file ({error}): copy or make it again") from error


def _load(data: bytes, name: object) -> dict[bytes, Any]:
    try:
        content = _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # unpicklers meet hostile bytes and raise nearly anything
        raise ValueError(f"{name} cannot be read: {error or type(error).__name__}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name} must hold a dictionary, as CIFAR does, but holds a {type(content).__name__}")
    return {key if isinstance(key, bytes) else str(key).encode(): value for key, value in content.items()}


def _pixels(batch: dict[bytes, Any], name: str) -> np.ndarray:
    data = batch.get(b"data")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * SIDE**2:
        raise ValueError(f"the data of {name} must be bytes [N, {3 * SIDE**2}]: get it again from the official site")
    return data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)


def _labels(labels: Any, count: int, name: str) -> np.ndarray:
    wanted = f"the labels of {name} must be {count} class numbers: get it again from the official site"
    if not isinstance(labels, list) or len(labels) != count:
        raise ValueError(wanted)
    if not all(isinstance(label, int) and 0 <= label < MOST_CLASSES for label in labels):
        raise ValueError(wanted)
    return np.array(labels, dtype=np.int64)


def _class_names(names: Any, classes: int) -> tuple[str, ...]:
    if not isinstance(names, list) or len(names) < classes:
        return tuple(map(str, range(classes)))
    return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names)
