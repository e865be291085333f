"""Arrays of numbers in .npy files of others. numpy's own reader makes room for what a file claims to hold."""

import math
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from imaging.opening import open_file, parsing


def read_numbers(path: Path, advice: str) -> np.ndarray:
    """The numbers in a .npy file. ValueError, which ends in `advice`, when it holds anything else or is damaged."""
    with parsing(path, "an array of numbers", advice), open_file(path) as file:
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"format {version[0]}.{version[1]} is not read")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
        if dtype.kind not in "biuf":
            raise ValueError(f"its type is {dtype.kind!r}")
        start = file.tell()
        data = file.read(path.stat().st_size - start)
        if math.prod(shape) * dtype.itemsize != len(data) or any(n < 0 for n in shape):
            raise ValueError(f"it has {len(data)} bytes for the shape {list(shape)[:4]}")
        return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")
