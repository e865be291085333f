"""MNIST, Fashion-MNIST and similar sets: idx files (http://yann.lecun.com/exdb/mnist), plain or gzip."""

import math
import re
import struct
from pathlib import Path

import numpy as np

from imaging.labels import Labels, without
from imaging.opening import RefusedError, parsing, unpacking
from imaging.sizes import LARGEST_PICTURE
from imaging.sources.source import ArraySource

IMAGES, LABELS = b"\0\0\x08\x03", b"\0\0\x08\x01"  # unsigned bytes of 3 dimensions, of 1
NAME = re.compile(r"(.*)images([-.])idx3([-.])ubyte(\.gz)?", re.IGNORECASE)
LARGEST, PIECE = 2**30, 2**20  # bytes that are read, at once; MNIST has 47 million, EMNIST 547 million
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def images_in(folder: Path) -> Path | None:
    """The file of training images in a folder, or of its only images; None if there is none."""
    found = sorted(file for file in folder.iterdir() if NAME.fullmatch(file.name) and file.is_file())
    training = [file for file in found if "train" in file.name.lower()]
    return next(iter(training or found), None)


def open_mnist(path: Path) -> ArraySource:
    """A folder, whose training images are read, or a file of images; labels are beside it under the usual name."""
    file = images_in(path) if path.is_dir() else path
    if file is None:
        raise ValueError(f"{path} has no file such as train-images-idx3-ubyte.gz: give its name")
    pixels = _read(file, IMAGES)
    labels = _labels_beside(file, len(pixels))
    part = "train" if "train" in file.name.lower() else "t10k" if "t10k" in file.name.lower() else "image"
    return ArraySource(path, "MNIST", part + "/{:05d}", pixels, labels)


def _labels_beside(images: Path, count: int) -> Labels:
    found = NAME.fullmatch(images.name)
    stem = f"{found[1]}labels{found[2]}idx1{found[3]}ubyte" if found else ""
    beside = [images.with_name(stem + ending) for ending in ("", ".gz") if stem]
    file = next((each for each in beside if each.is_file()), None)
    if file is None:
        wanted = f"{stem}.gz is" if stem else "file of labels is"
        return without(count, f"the set is unlabeled, since no {wanted} beside {images.name}")
    values = _read(file, LABELS).astype(np.int64)
    if len(values) != count:
        raise ValueError(f"{file} has {len(values)} labels for {count} images: get both again, or use --labels none")
    classes = int(values.max(initial=0)) + 1
    clothes = "fashion" in str(images.resolve()).lower() and classes <= len(FASHION)
    return Labels(values, FASHION if clothes else tuple(map(str, range(max(classes, 10)))), f"labels of {file.name}")


def _read(file: Path, magic: bytes) -> np.ndarray:
    """uint8 [N, H, W] of images, [N] of labels."""
    dimensions = magic[3]
    with parsing(file, "complete", "get it again"), unpacking(file) as stream:
        if stream.read(4) != magic:
            what = "images" if magic == IMAGES else "labels"
            raise RefusedError(f"{file} is not an idx file of {what}: get it again, or give another")
        shape = struct.unpack(f">{dimensions}I", stream.read(4 * dimensions))
        wanted = math.prod(shape)
        if math.prod(shape[1:]) > LARGEST_PICTURE or wanted > LARGEST:
            raise RefusedError(f"{file} claims to hold {wanted} bytes, but at most {LARGEST} are read: give another")
        data = bytearray()  # grows with the data, not with the claim
        while len(data) < wanted and (piece := stream.read(min(wanted - len(data), PIECE))):
            data += piece
        if len(data) != wanted or not wanted:
            raise EOFError(f"{len(data)} of {wanted} bytes")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)
