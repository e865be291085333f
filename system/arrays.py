"""Reads NumPy files (.npy and .npz) of strangers: arrays of numbers, or an error that names the file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from system.text import printable

LARGEST_UNPACKED = 2**30  # bytes of all wanted arrays of a smaller archive
KINDS = "biuf"  # of dtypes: truth values, whole numbers, floating point
ONLY = ""  # name of the array of a .npy file


def load_arrays(
    path: Path, wanted: Callable[[str], bool] = lambda name: True, most: int = LARGEST_UNPACKED
) -> dict[str, np.ndarray]:
    """Read a NumPy file. Its content decides which kind it is, not its ending.

    Args:
        path: the file.
        wanted: called with the name of each array of an archive; False skips the array.
        most: largest size of the wanted arrays of an archive in bytes, if the file is smaller.

    Returns:
        name -> array, in native byte order and writable. A single array (.npy) has the name "".

    Raises:
        OSError: if the file cannot be opened.
        ValueError: if it is not a NumPy file, is damaged, or a wanted array contains anything but numbers.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file: give a NumPy file (.npy or .npz)")
    with path.open("rb") as file:
        try:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {ONLY: _numbers(loaded)}
            entries = [entry for entry in loaded.zip.infolist() if wanted(entry.filename.removesuffix(".npy"))]
            most = max(most, path.stat().st_size)
            if sum(entry.file_size for entry in entries) > most:
                raise ValueError(f"its arrays take more than {most} bytes")
            return {name: _numbers(loaded[name]) for name in loaded.files if wanted(name)}
        except Exception as error:  # parsers and decompressors raise nearly anything for damaged bytes
            why = printable(" ".join(str(error).split()), 120) or type(error).__name__
            raise ValueError(f"{path} is not a whole NumPy file of numbers ({why})") from error


def load_array(path: Path) -> np.ndarray:
    """Read a file with a single array. Raises as `load_arrays`, and ValueError for an archive."""
    found = load_arrays(path, wanted=lambda name: False)
    if ONLY not in found:
        raise ValueError(f"{path} is an archive of arrays (.npz), expected a single array (.npy)")
    return found[ONLY]


def _numbers(array: np.ndarray) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in KINDS:
        raise ValueError("it has values other than numbers")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
