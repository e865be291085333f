"""Frames laid on the disk for a while: for formats whose first byte depends on the last picture."""

import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

_PLACE = struct.Struct("<QQ")  # where a frame begins, and how long it is, packed


class Reel:
    """Pictures of one size and mode that can be looked at again, in any order, without being held in memory."""

    def __init__(self, folder: Path) -> None:
        self._pixels = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (`reeled` closes it)
        self._places = bytearray()
        self.mode, self.size = "RGB", (0, 0)

    def append(self, frame: Image.Image) -> None:
        """Lays a picture on the disk, after the others."""
        self.mode, self.size = frame.mode, frame.size
        packed = zlib.compress(frame.tobytes(), level=1)
        self._places += _PLACE.pack(self._pixels.tell(), len(packed))
        self._pixels.write(packed)

    def __len__(self) -> int:
        return len(self._places) // _PLACE.size

    def __getitem__(self, number: int) -> Image.Image:
        if not 0 <= number < len(self):
            raise IndexError(number)
        start, length = _PLACE.unpack_from(self._places, number * _PLACE.size)
        self._pixels.seek(start)
        return Image.frombytes(self.mode, self.size, zlib.decompress(self._pixels.read(length)))

    def __iter__(self) -> Iterator[Image.Image]:
        return (self[number] for number in range(len(self)))

    def close(self) -> None:
        """Forgets the pictures."""
        self._pixels.close()


@contextmanager
def reeled(frames: Iterable[Image.Image], folder: Path) -> Iterator[Reel]:
    """All frames on a reel in a file of `folder` that has no name; it is gone when the block ends."""
    reel = Reel(folder)
    try:
        for frame in frames:
            reel.append(frame)
        yield reel
    finally:
        reel.close()
