"""NumPy files (.npy and .npz) of strangers: whole arrays of plain numbers, or one sentence that names the file.

`np.load` decides by the content, not by the ending, which of three types it returns, believes whatever shape a header
claims, and raises nearly anything for a damaged file. Here the content decides too, but the result always has one
type, and a shape counts only if the file has the bytes for it.
"""

import errno
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from system.text import printable

LARGEST_UNPACKED = 2**30  # bytes that all wanted arrays of an archive may take together, if the file itself is smaller
KINDS = "biuf"  # of dtypes: truth values, whole numbers and floating point
ONLY = ""  # the name of the array of a .npy file
ZIP_MAGIC = b"PK"


def load_arrays(
    path: Path, wanted: Callable[[str], bool] = lambda name: True, most: int | None = None
) -> dict[str, np.ndarray]:
    """Read a NumPy file, of whatever ending.

    Args:
        path: the file.
        wanted: which arrays of an archive are read, by their names; all by default.
        most: bytes that the wanted arrays of an archive may take together, if the file is smaller; 1 GiB by default.

    Returns:
        name -> array, in native byte order and writable. A file of a single array (.npy) gives {"": array}.

    Raises:
        FileNotFoundError, OSError: when the file cannot be opened.
        ValueError: when it is no NumPy file, is damaged, or a wanted array holds other things than numbers.
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
            if error.errno not in (None, errno.EINVAL):  # zipfile seeks to wherever a damaged directory leads
                raise
            raise _broken(path, error) from error
        except Exception as error:  # parsers and decompressors raise nearly anything for damaged bytes
            raise _broken(path, error) from error


def load_array(path: Path) -> np.ndarray:
    """The array of a file that holds a single one. Raises as `load_arrays`, also when the file is an archive."""
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
                raise ValueError("it holds two arrays of one name")
            most -= entry.file_size
            if most < 0:
                raise ValueError(f"its arrays take more than {largest} bytes")
            with archive.open(entry) as member:
                arrays[name] = _array(member, entry.file_size)  # type: ignore[arg-type]
    return arrays


def _array(file: BinaryIO, size: int) -> np.ndarray:
    """The array in `file`, which has `size` bytes."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version[0]}.{version[1]} of the format is not supported")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read_header(file)
    if dtype.kind not in KINDS or dtype.subdtype is not None:
        raise ValueError("it holds other things than numbers")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError("its size is not the one that its shape takes")
    data = bytearray(size - file.tell())
    if file.readinto(data) != len(data) or file.read(1):  # type: ignore[attr-defined]
        raise ValueError("its end is missing")
    numbers = np.frombuffer(data, np.uint8) != 0 if dtype.kind == "b" else np.frombuffer(data, dtype)
    array = numbers.reshape(shape, order="F" if by_columns else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _broken(path: Path, error: Exception) -> ValueError:
    why = printable(" ".join(str(error).split()), 120) or type(error).__name__
    return ValueError(f"{path} is not a whole NumPy file of numbers ({why})")
