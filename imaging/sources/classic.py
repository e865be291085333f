"""Classic sets that fit in memory: CIFAR (pickles, packed or not), and MNIST and similar sets (idx files).

numpy's own classes trust the state in a pickle, down to memory addresses. Here an array is recognized by the form that
numpy writes, and made from its bytes.
"""

import io
import math
import re
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from imaging.labels import MOST_CLASSES, Labels, without
from imaging.opening import Bounded, RefusedError, open_file, parsing, unpacking
from imaging.picture import Header
from imaging.sizes import LARGEST_PICTURE
from imaging.sources.archives import opened
from imaging.sources.source import SequentialSource
from system.pickles import Built, Makers, Name, read_pickle
from system.text import printable

TEN = {f"data_batch_{i}" for i in range(1, 6)}
FILES = {*TEN, "batches.meta", "train", "meta"}
SIDE = 32
LARGEST_BATCH = 2**28  # bytes of a file: CIFAR-100 has 155 million
OFFICIAL = "get it again from the official site"
MOST_DIMENSIONS, LARGEST_SIDE = 8, 2**40

IMAGES, LABELS = b"\0\0\x08\x03", b"\0\0\x08\x01"  # unsigned bytes of 3 dimensions, of 1
IDX = re.compile(r"(.*)images([-.])idx3([-.])ubyte(\.gz)?", re.IGNORECASE)
LARGEST_IDX, PIECE = 2**30, 2**20  # bytes that are read, at once; MNIST has 47 million, EMNIST 547 million
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


class ArraySource(SequentialSource):
    """Images in memory, uint8 [N, H, W] or [N, H, W, 3], with a label each."""

    def __init__(self, path: Path, kind: str, prefix: str, pixels: np.ndarray, labels: Labels) -> None:
        self.kind = kind
        super().__init__(path, [f"{prefix}{i:05d}" for i in range(len(pixels))])
        self.pixels, self._labels = pixels, labels
        self.header = Header(pixels.shape[2], pixels.shape[1], "RGB" if pixels.ndim == 4 else "L")

    def part(self, number: int) -> Iterator[Callable[[], Image.Image]]:
        return (partial(Image.fromarray, np.ascontiguousarray(each)) for each in self.pixels)

    def labels(self) -> Labels:
        return self._labels


def is_cifar(names: set[str]) -> bool:
    """Whether files of these names are CIFAR."""
    return names >= TEN or {"train", "meta"} <= names


def open_cifar(path: Path) -> ArraySource:
    """The training images of CIFAR-10, or of CIFAR-100 with its fine classes."""
    with parsing(path, "CIFAR", OFFICIAL):
        files = dict(_files(path))
    ten = "batches.meta" in files or bool(TEN & files.keys())
    wanted, meta, kind = (sorted(TEN), "batches.meta", "CIFAR-10") if ten else (["train"], "meta", "CIFAR-100")
    if missing := [name for name in [*wanted, meta] if name not in files]:
        raise ValueError(f"{path} looks like CIFAR, but has no {missing[0]}: {OFFICIAL}")
    pixels, labels = [], list[int]()
    for name in wanted:
        batch = _load(files.pop(name), where := f"{name} in {path}")
        data, classes = batch.get("data"), batch.get("labels" if ten else "fine_labels")
        if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != 3 * SIDE**2:
            raise ValueError(f"the data of {where} must be bytes [N, {3 * SIDE**2}]: {OFFICIAL}")
        listed = classes if isinstance(classes, list) else []
        if len(listed) != len(data) or not all(type(each) is int and 0 <= each < MOST_CLASSES for each in listed):
            raise ValueError(f"the labels of {where} must be {len(data)} class numbers: {OFFICIAL}")
        pixels.append(data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))
        labels += listed
    count = max(labels, default=0) + 1
    names = _load(files.pop(meta), path).get("label_names" if ten else "fine_label_names")
    known = names if isinstance(names, list) and len(names) >= count else list(map(str, range(count)))
    texts = (name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in known)
    taken = Labels(np.array(labels, dtype=np.int64), tuple(map(printable, texts)), f"labels of {kind}")
    return ArraySource(path, kind, "train/", np.concatenate(pixels), taken)


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for name in sorted(FILES):
            if (path / name).exists():
                with open_file(path / name) as file:
                    yield name, Bounded(file, LARGEST_BATCH).read()
        return
    with opened(path) as (file, members):
        for member in members:
            name = PurePosixPath(member.name).name
            if name in FILES and member.isreg():
                file.seek(member.offset_data)
                yield name, Bounded(file, LARGEST_BATCH).read(member.size)


def _load(data: bytes, name: object) -> dict[str, Any]:
    with parsing(name, "a file of CIFAR", OFFICIAL):
        return read_arrays(data)


def read_arrays(data: bytes) -> dict[str, Any]:
    """The dictionary that a pickle holds. Its keys are texts; a byte array in it is uint8 of its own shape.

    Texts of Python 2 are bytes, except in keys. ValueError says what is damaged, or what the pickle holds other than
    dictionaries, lists, texts, numbers and byte arrays.
    """
    content = read_pickle(io.BytesIO(data), MAKERS, strings=bytes)
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, expected a dictionary")
    return {_text(key): each.pixels if isinstance(each, _Array) else each for key, each in content.items()}


class _Byte(Built):
    """The only number type that is read."""

    def __init__(self, kind: Any, *how: Any) -> None:
        if _text(kind) != "u1":
            raise ValueError(f"it has an array of {printable(_text(kind), 20) or 'no known type'}, expected bytes (u1)")

    def build(self, state: Any) -> None:
        match state:  # version, byte order, no fields; sizes as usual, no flags
            case (3, "|" | b"|", None, None, None, -1, -1, 0):
                return
        raise ValueError("it has an array of a special type, expected bytes (u1)")


class _Array(Built):
    """An array, before its state is known and after."""

    pixels: np.ndarray | None = None

    def __init__(self, kind: Any, *how: Any) -> None:
        if not isinstance(kind, Name) or kind.name != "ndarray":
            raise ValueError("it makes an array in a way that numpy does not")

    def build(self, state: Any) -> None:
        match state:
            case (_, tuple(shape), _Byte(), order, bytes(content)) if len(shape) <= MOST_DIMENSIONS:
                sizes = all(type(side) is int and 0 <= side < LARGEST_SIDE for side in shape)
                if sizes and math.prod(shape) == len(content):
                    self.pixels = np.frombuffer(content, np.uint8).reshape(shape, order="F" if order is True else "C")
                    return
        raise ValueError("it has an array whose description is damaged")


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value if isinstance(value, str) else ""


MAKERS: Makers = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): lambda *how: _Array(None),  # only a name for `_reconstruct`
    ("numpy", "dtype"): _Byte,
}


def images_in(folder: Path) -> Path | None:
    """The idx file of training images in a folder, or of its only images; None if there is none."""
    found = sorted(file for file in folder.iterdir() if IDX.fullmatch(file.name) and file.is_file())
    return next((file for file in found if "train" in file.name.lower()), found[0] if found else None)


def open_mnist(path: Path) -> ArraySource:
    """A folder, whose training images are read, or a file of images; labels are beside it under the usual name."""
    file = images_in(path) if path.is_dir() else path
    if file is None:
        raise ValueError(f"{path} has no file such as train-images-idx3-ubyte.gz: give its name")
    pixels = _read_idx(file, IMAGES)
    part = next((part for part in ("train", "t10k") if part in file.name.lower()), "image")
    return ArraySource(path, "MNIST", f"{part}/", pixels, _labels_beside(file, len(pixels)))


def _labels_beside(images: Path, count: int) -> Labels:
    found = IDX.fullmatch(images.name)
    stem = f"{found[1]}labels{found[2]}idx1{found[3]}ubyte" if found else ""
    beside = [images.with_name(stem + ending) for ending in ("", ".gz") if stem]
    file = next((each for each in beside if each.is_file()), None)
    if file is None:
        wanted = f"{stem}.gz is" if stem else "file of labels is"
        return without(count, f"the set is unlabeled, since no {wanted} beside {images.name}")
    values = _read_idx(file, LABELS).astype(np.int64)
    if len(values) != count:
        raise ValueError(f"{file} has {len(values)} labels for {count} images: get both again, or use --labels none")
    classes = int(values.max(initial=0)) + 1
    clothes = "fashion" in str(images.resolve()).lower() and classes <= len(FASHION)
    return Labels(values, FASHION if clothes else tuple(map(str, range(max(classes, 10)))), f"labels of {file.name}")


def _read_idx(file: Path, magic: bytes) -> np.ndarray:
    """uint8 [N, H, W] of images, [N] of labels."""
    dimensions = magic[3]
    with parsing(file, "complete", "get it again"), unpacking(file) as stream:
        if stream.read(4) != magic:
            what = "images" if magic == IMAGES else "labels"
            raise RefusedError(f"{file} is not an idx file of {what}: get it again, or give another")
        shape = struct.unpack(f">{dimensions}I", stream.read(4 * dimensions))
        wanted = math.prod(shape)
        if math.prod(shape[1:]) > LARGEST_PICTURE or wanted > LARGEST_IDX:
            raise RefusedError(
                f"{file} claims to hold {wanted} bytes, but at most {LARGEST_IDX} are read: give another"
            )
        data = bytearray()  # grows with the data, not with the claim
        while len(data) < wanted and (piece := stream.read(min(wanted - len(data), PIECE))):
            data += piece
        if len(data) != wanted or not wanted:
            raise EOFError(f"{len(data)} of {wanted} bytes")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)
