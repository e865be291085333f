"""TFRecords of the official StyleGAN and Progressive GAN data sets: `name-r10.tfrecords`, one file for each resolution.

A record is a length (8 bytes), its checksum (4), the data, its checksum (4). Checksums are not verified. The data is a
protocol buffer, an `Example`, with the features `shape` (channels, height, width) and `data` (uint8 of that shape).
"""

import glob
import re
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imaging.labels import MOST_CLASSES, Labels
from imaging.opening import open_file, reason
from imaging.sources.source import Numbered, Source, header, identity_of
from system.text import printable
from system.untrusted import load_array

HEAD, TAIL = 12, 4  # bytes around the data of a record
LARGEST_RECORD = 2**28  # bytes
MOST_NUMBERS = 10_000  # in a list: a shape has three, a label at most as many as there are classes
NAME = re.compile(r"(.*-r)(\d+)\.tfrecords", re.IGNORECASE)


class RecordSource(Source):
    """The images of one file. Where records begin is found by following their lengths."""

    kind = "a TFRecords file"

    def __init__(self, file: Path, path: Path) -> None:
        self.file = file
        self._starts = _starts(file)
        super().__init__(path, Numbered("record{:08d}", len(self._starts)))
        self.header = header(self.read(0), self.names[0])  # a file has one resolution

    def read(self, index: int) -> Image.Image:
        name = f"{self.names[index]} in {printable(str(self.file))}"
        with open_file(self.file) as file:
            file.seek(int(self._starts[index]))
            length = int.from_bytes(file.read(HEAD)[:8], "little")
            return _picture(file.read(min(length, LARGEST_RECORD)), name)

    def labels(self) -> Labels:
        file = next(iter(sorted(self.file.parent.glob(f"{glob.escape(_stem(self.file))}*.labels"))), None)
        return _labels(file, len(self.names)) if file else super().labels()

    def identity(self) -> str:
        return identity_of([self.file])


def open_tfrecords(path: Path) -> RecordSource:
    """A file, or the file of the largest resolution in a folder."""
    if path.is_file():
        return RecordSource(path, path)
    files = sorted(path.glob("*.tfrecords"), key=_resolution)
    if len({_stem(file) for file in files}) > 1:
        raise ValueError(f"{path} holds several data sets, such as {files[0].name} and {files[1].name}: give one file")
    source = RecordSource(files[-1], path)
    if len(files) > 1:
        source.notes.append(f"{files[-1].name} is read, the largest resolution of {len(files)}")
    return source


def _resolution(file: Path) -> int:
    found = NAME.fullmatch(file.name)
    return int(found[2]) if found else 0


def _stem(file: Path) -> str:
    found = NAME.fullmatch(file.name)
    return found[1] if found else file.stem


def _starts(path: Path) -> np.ndarray:
    starts, place, size = array("q"), 0, path.stat().st_size
    with open_file(path) as file:
        while place < size:
            file.seek(place)
            length = int.from_bytes(file.read(HEAD)[:8], "little")
            if not length or length > LARGEST_RECORD or place + HEAD + length + TAIL > size:
                raise ValueError(f"{path} ends in the middle of a record, at byte {place}: copy it again")
            starts.append(place)
            place += HEAD + length + TAIL
    return np.array(starts, dtype=np.int64)


def _picture(data: bytes, name: str) -> Image.Image:
    try:
        features = example(data)
        shape, values = [int(n) for n in features["shape"]], features["data"][0]
        pixels = np.frombuffer(values, dtype=np.uint8).reshape(shape)
    except KeyError as error:
        known = printable(", ".join(sorted(features)) or "nothing", 200)
        raise ValueError(f"{name} has no {error} (it has {known}): only the official data sets are read") from error
    except Exception as error:
        raise ValueError(f"{name} cannot be read: {reason(error)}") from error
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3, 4) or 0 in pixels.shape:
        raise ValueError(f"{name} has the shape {list(shape)[:4]}, expected [1, 3 or 4 channels, height, width]")
    return Image.fromarray(np.ascontiguousarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)))


def example(data: bytes) -> dict[str, list[Any]]:
    """The features of a serialized `tf.train.Example`: numbers or bytes by name. ValueError if it is malformed.

    Example {Features features = 1}, Features {map<string, Feature> feature = 1}, Feature {BytesList bytes_list = 1;
    FloatList float_list = 2; Int64List int64_list = 3}, each list {repeated value = 1}. Float lists are skipped.
    """
    found = {}
    for features in _of(data, 1):
        for entry in _of(features, 1):
            name = bytes(next(_of(entry, 1), b"")).decode("utf-8", "replace")
            values: list[Any] = []
            for feature in _of(entry, 2):
                values += [bytes(value) for texts in _of(feature, 1) for value in _of(texts, 1)]
                values += islice((n for numbers in _of(feature, 3) for n in _integers(numbers)), MOST_NUMBERS)
            found[name] = values
    return found


def _of(data: Any, wanted: int) -> Iterator[memoryview]:
    """The contents of the length-delimited fields of one number."""
    return (value for number, value in _fields(memoryview(data)) if number == wanted and isinstance(value, memoryview))


def _integers(data: memoryview) -> Iterator[int]:
    """The values of an Int64List, packed or not."""
    for number, value in _fields(data):
        place = 0
        while number == 1 and isinstance(value, memoryview) and place < len(value):
            packed, place = _varint(value, place)
            yield packed
        if number == 1 and isinstance(value, int):
            yield value


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        length, place = _varint(data, place) if kind == 2 else ({1: 8, 5: 4}.get(kind, -1), place)
        if length < 0 or place + length > len(data):
            raise ValueError("it is not a protocol buffer")
        yield key >> 3, data[place : place + length]
        place += length


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        value, place = value | (byte & 0x7F) << shift, place + 1
        if byte < 0x80:
            return value, place
    raise ValueError("it is not a protocol buffer")


def _labels(file: Path, count: int) -> Labels:
    """Class numbers [N], or one-hot rows [N, classes], as the official tools write them with numpy."""
    try:
        stored = load_array(file)
    except ValueError as error:
        raise ValueError(f"{error}: get it again, or use --labels none") from error
    if len(stored.shape) == 0 or len(stored) != count:
        raise ValueError(f"{file} has the shape {list(stored.shape)[:4]} for {count} pictures: use --labels none")
    one_hot = stored.ndim == 2 and stored.shape[1] > 0
    if one_hot and not (((stored == 0) | (stored == 1)).all() and (stored.sum(axis=1) == 1).all()):
        raise ValueError(f"{file} has vectors for labels, but an image can only have one class: use --labels none")
    single = stored.argmax(axis=1) if one_hot else stored.reshape(count, -1)[:, 0]
    values = np.nan_to_num(single, nan=-1, posinf=-1, neginf=-1).clip(-1, MOST_CLASSES).astype(np.int64)
    classes = stored.shape[1] if one_hot else int(values.max(initial=0)) + 1
    if values.min(initial=0) < 0 or classes > MOST_CLASSES or (values != single).any():
        raise ValueError(f"{file} has labels other than 0, 1, 2, ... below {MOST_CLASSES}: use --labels none")
    return Labels(values, tuple(map(str, range(classes))), f"labels of {file.name}")
