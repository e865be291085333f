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

from imaging.labels import Labels, class_number
from imaging.opening import open_file, reason
from imaging.sources.source import Source, header
from system.text import printable
from system.untrusted import load_array

HEAD, TAIL = 12, 4  # bytes around the data of a record
LARGEST_RECORD = 2**28  # bytes
MOST_NUMBERS = 10_000  # in a list: a shape has three
NAME = re.compile(r"(.*-r)(\d+)\.tfrecords", re.IGNORECASE)
WIDTHS = {1: 8, 5: 4}  # bytes of a protocol buffer's fixed numbers, by their wire type


class RecordSource(Source):
    """The images of one file. Where records begin is found by following their lengths."""

    kind = "a TFRecords file"

    def __init__(self, path: Path) -> None:
        """Open a file, or the file of the largest resolution in a folder."""
        found = [path] if path.is_file() else sorted(path.glob("*.tfrecords"), key=lambda file: int(_parts(file)[1]))
        if len({_parts(file)[0] for file in found}) > 1:
            raise ValueError(f"{path} holds several data sets ({found[0].name}, {found[1].name}): give one file")
        self.file = found[-1]
        self._starts = _starts(self.file)
        super().__init__(path, [f"record{i:08d}" for i in range(len(self._starts))], [self.file])
        self.header = header(self.read(0), self.names[0])  # a file has one resolution
        if len(found) > 1:
            self.notes.append(f"{self.file.name} is read, the largest resolution of {len(found)}")

    def read(self, index: int) -> Image.Image:
        with open_file(self.file) as file:
            file.seek(self._starts[index])
            length = int.from_bytes(file.read(HEAD)[:8], "little")
            data = file.read(min(length, LARGEST_RECORD))
        try:
            return _picture(data)
        except Exception as error:
            raise ValueError(f"{self.names[index]} in {self.file} cannot be read: {reason(error)}") from error

    def labels(self) -> Labels:
        """Class numbers [N], or one-hot rows [N, classes], as the official tools write them with numpy."""
        file = next(iter(sorted(self.file.parent.glob(f"{glob.escape(_parts(self.file)[0])}*.labels"))), None)
        if file is None:
            return super().labels()
        try:
            stored = load_array(file)
            if stored.shape[:1] != (len(self.names),):
                raise ValueError(f"{file} has the shape {list(stored.shape)[:4]} for {len(self.names)} images")
            one_hot = stored.ndim == 2 and stored.shape[1] > 0
            if one_hot and not (((stored == 0) | (stored == 1)).all() and (stored.sum(axis=1) == 1).all()):
                raise ValueError(f"{file} has vectors for labels, but an image can only have one class")
            single = stored.argmax(axis=1) if one_hot else stored.reshape(len(stored), -1)[:, 0]
            numbers = {value: class_number(value, f"a label in {file}") for value in set(single.tolist())}
        except ValueError as error:
            raise ValueError(f"{error}: get it again, or use --labels none") from error
        values = np.array([numbers[value] for value in single.tolist()], dtype=np.int64)
        classes = stored.shape[1] if one_hot else int(values.max()) + 1
        return Labels(values, tuple(map(str, range(classes))), f"labels of {file.name}")


def _parts(file: Path) -> tuple[str, str]:
    """The name of the set, and the resolution."""
    found = NAME.fullmatch(file.name)
    return (found[1], found[2]) if found else (file.stem, "0")


def _starts(path: Path) -> "array[int]":
    starts, place, size = array("q"), 0, path.stat().st_size
    with open_file(path) as file:
        while place < size:
            file.seek(place)
            length = int.from_bytes(file.read(HEAD)[:8], "little")
            if not length or length > LARGEST_RECORD or place + HEAD + length + TAIL > size:
                raise ValueError(f"{path} ends in the middle of a record, at byte {place}: copy it again")
            starts.append(place)
            place += HEAD + length + TAIL
    return starts


def _picture(data: bytes) -> Image.Image:
    features = example(data)
    if missing := {"shape", "data"} - features.keys():
        known = printable(", ".join(sorted(features)) or "nothing", 200)
        raise ValueError(f"it has no {max(missing)}, but {known}: only the official data sets are read")
    shape = [int(n) for n in features["shape"]]
    pixels = np.frombuffer(features["data"][0], dtype=np.uint8).reshape(shape)
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3, 4) or 0 in pixels.shape:
        raise ValueError(f"it has the shape {shape[:4]}, expected [1, 3 or 4 channels, height, width]")
    return Image.fromarray(np.ascontiguousarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)))


def example(data: bytes) -> dict[str, list[Any]]:
    """The features of a serialized `tf.train.Example`: numbers or bytes by name. ValueError if it is malformed.

    Example {Features features = 1}, Features {map<string, Feature> feature = 1}, Feature {BytesList bytes_list = 1;
    FloatList float_list = 2; Int64List int64_list = 3}, each list {repeated value = 1}. Float lists are skipped.
    """
    found = {}
    for entry in (entry for features in _fields(data, 1) for entry in _fields(features, 1)):
        name = bytes(next(_fields(entry, 1), b"")).decode("utf-8", "replace")
        values: list[Any] = []
        for feature in _fields(entry, 2):
            values += [bytes(value) for texts in _fields(feature, 1) for value in _fields(texts, 1)]
            numbers = (number for each in _fields(feature, 3) for packed in _fields(each, 1) for number in _all(packed))
            values += islice(numbers, MOST_NUMBERS)
        found[name] = values
    return found


def _fields(data: Any, wanted: int) -> Iterator[memoryview]:
    """The contents of the fields of one number; those of a number not in a list are its bytes."""
    data, place = memoryview(data), 0
    while place < len(data):
        key, place = _varint(data, place)
        start, kind = place, key & 7
        if kind == 0:
            _, place = _varint(data, place)
        else:
            length, start = _varint(data, place) if kind == 2 else (WIDTHS.get(kind, len(data) + 1), place)
            place = start + length
        if place > len(data):
            raise ValueError("it is not a protocol buffer")
        if key >> 3 == wanted and kind in (0, 2):
            yield data[start:place]


def _all(packed: memoryview) -> Iterator[int]:
    place = 0
    while place < len(packed):
        number, place = _varint(packed, place)
        yield number


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
