"""Small true files of each format, made by other means than those that read them."""

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import ClassVar

import numpy as np
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c


def tarred(path: Path, files: dict[str, bytes], mode: str) -> Path:
    with tarfile.open(path, f"w:{mode}") as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


class Python2Pickler(pickle._Pickler):
    """Bytes as Python 2 wrote its strings, as in the published CIFAR files."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        short = len(value) < 256
        self.write(b"U" + bytes([len(value)]) + value if short else b"T" + struct.pack("<I", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_string  # type: ignore[assignment]


def python2_pickle(content: object) -> bytes:
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(content)
    return buffer.getvalue().replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")


def cifar_files(pixels: np.ndarray, labels: list[int]) -> dict[str, bytes]:
    """uint8 [5 n, 3, 32, 32] as the five batches of CIFAR-10."""
    n = len(pixels) // 5
    files = {
        f"cifar-10-batches-py/data_batch_{i + 1}": python2_pickle(
            {
                b"batch_label": b"training batch",
                b"labels": labels[i * n : (i + 1) * n],
                b"data": pixels[i * n : (i + 1) * n].reshape(n, -1),
                b"filenames": [b"a.png"] * n,
            }
        )
        for i in range(5)
    }
    files["cifar-10-batches-py/test_batch"] = b"not looked at"
    names = {b"label_names": [b"airplane", b"automobile", b"bird"], b"num_vis": 3072}
    files["cifar-10-batches-py/batches.meta"] = python2_pickle(names)
    return files


def idx(array: np.ndarray, packed: bool = True) -> bytes:
    data = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    return gzip.compress(data) if packed else data


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def example(pixels: np.ndarray, packed: bool = True) -> bytes:
    """A tf.train.Example of uint8 [C, H, W], by hand. Lists of integers may be packed or not."""
    numbers = b"".join(map(_varint, pixels.shape))
    if packed:
        shape = _field(3, _field(1, numbers))
    else:
        shape = _field(3, b"".join(_varint(1 << 3) + _varint(n) for n in pixels.shape))
    entries = {b"shape": shape, b"data": _field(1, _field(1, pixels.tobytes()))}
    features = b"".join(_field(1, _field(1, name) + _field(2, value)) for name, value in entries.items())
    return _field(1, features)


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))
