"""Reads NumPy files (.npy and .npz) of strangers: arrays of numbers, or an error that names the file.

`np.load` allocates whatever shape a header claims, and raises all kinds of exceptions for damaged files.
"""

import errno
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from system.text import printable

LARGEST_UNPACKED = 2**30  # bytes of all wanted arrays of a smaller archive
KINDS = "biuf"  # of dtypes: truth values, whole numbers, floating point
ONLY = ""  # name of the array of a .npy file
ZIP_MAGIC = b"PK"


def load_arrays(
    path: Path, wanted: Callable[[str], bool] = lambda name: True, most: int | None = None
) -> dict[str, np.ndarray]:
    """Read a NumPy file. Its content decides which kind it is, not its ending.

    Args:
        path: the file.
        wanted: called with the name of each array of an archive; False skips the array. All by default.
        most: largest size of the wanted arrays of an archive in bytes, if the file is smaller; 1 GiB by default.

    Returns:
        name -> array, in native byte order and writable. A single array (.npy) has the name "".

    Raises:
        OSError: if the file cannot be opened.
        ValueError: if it is not a NumPy file, is damaged, or a wanted array contains anything but numbers.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file: give a NumPy file (.npy or .npz)")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(ZIP_MAGIC))
        file.seek(0)
        try:
            if start == ZIP_MAGIC:
                return _archive(file, wanted, max(size, LARGEST_UNPACKED if most is None else most))
            return {ONLY: _array(file, size)}
        except OSError as error:
            if error.errno not in (None, errno.EINVAL):  # zipfile seeks to the places in a damaged directory
                raise
            raise _broken(path, error) from error
        except Exception as error:  # parsers and decompressors raise nearly anything for damaged bytes
            raise _broken(path, error) from error


def load_array(path: Path) -> np.ndarray:
    """Read a file with a single array. Raises as `load_arrays`, and ValueError for an archive."""
    found = load_arrays(path, wanted=lambda name: False)
    if ONLY not in found:
        raise ValueError(f"{path} is an archive of arrays (.npz), expected a single array (.npy)")
    return found[ONLY]


def _archive(file: BinaryIO, wanted: Callable[[str], bool], most: int) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    largest = most
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if not entry.filename.endswith(".npy") or not wanted(name):
                continue
            if name in arrays:
                raise ValueError("it has two arrays of one name")
            most -= entry.file_size
            if most < 0:
                raise ValueError(f"its arrays take more than {largest} bytes")
            with archive.open(entry) as member:
                arrays[name] = _array(member, entry.file_size)  # type: ignore[arg-type]
    return arrays


def _array(file: BinaryIO, size: int) -> np.ndarray:
    """Return the array in a file of `size` bytes."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version[0]}.{version[1]} of the format is not supported")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read_header(file)
    if dtype.kind not in KINDS or dtype.subdtype is not None:
        raise ValueError("it has values other than numbers")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError("its size does not match its shape")
    data = bytearray(size - file.tell())
    if file.readinto(data) != len(data) or file.read(1):  # type: ignore[attr-defined]
        raise ValueError("it is cut short")
    numbers = np.frombuffer(data, np.uint8) != 0 if dtype.kind == "b" else np.frombuffer(data, dtype)
    array = numbers.reshape(shape, order="F" if by_columns else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _broken(path: Path, error: Exception) -> ValueError:
    why = printable(" ".join(str(error).split()), 120) or type(error).__name__
    return ValueError(f"{path} is not a whole NumPy file of numbers ({why})")
