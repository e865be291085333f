"""Parts of files, read with bounds: no length that a file claims makes more of it than there is."""

import io
from typing import BinaryIO

_CHUNK = 2**16  # bytes that are read at once
_LONGEST_LINE = 2**10


class CutError(ValueError):
    """A part ends before what is to be read from it."""

    def __init__(self) -> None:
        super().__init__("it is cut short or damaged (its end comes too early)")


class Window:
    """A part of a file, read from its begin to its end with a place of its own; several may share the file.

    Args:
        file: an open binary file that can seek.
        start: where the part begins, in bytes.
        length: of the part, in bytes.
    """

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file, self._start, self._length = file, start, length
        self._place = 0  # of the next byte to read
        self._chunk, self._chunk_place = b"", 0

    @classmethod
    def of(cls, data: bytes) -> "Window":
        """All of some bytes."""
        return cls(io.BytesIO(data), 0, len(data))

    def again(self) -> "Window":
        """The same part, from its begin on."""
        return Window(self._file, self._start, self._length)

    def __len__(self) -> int:
        return self._length

    @property
    def left(self) -> int:
        """How many bytes are still to be read."""
        return self._length - self._place

    def read(self, count: int) -> bytes:
        """The next `count` bytes. Raises CutError where there are fewer."""
        if count > self.left:
            raise CutError
        begin = self._place - self._chunk_place
        if begin + count > len(self._chunk):
            self._fill(count)
            begin = 0
        self._place += count
        return self._chunk[begin : begin + count]

    def line(self) -> bytes:
        """The bytes up to the next end of a line, which is left out. Raises CutError where there is none near."""
        begin = self._place - self._chunk_place
        if (end := self._chunk.find(b"\n", begin, begin + _LONGEST_LINE)) < 0:
            self._fill(min(self.left, _LONGEST_LINE))
            begin, end = 0, self._chunk.find(b"\n", 0, _LONGEST_LINE)
        if end < 0:
            raise CutError
        self._place += end - begin + 1
        return self._chunk[begin:end]

    def part(self, count: int) -> "Window":
        """The next `count` bytes as a window, passed over unread. Raises CutError where there are fewer."""
        if count > self.left:
            raise CutError
        self._place += count
        return Window(self._file, self._start + self._place - count, count)

    def read_into(self, buffer: memoryview) -> None:
        """Fills a buffer of bytes with what comes next. Raises CutError where there is less."""
        if len(buffer) > self.left:
            raise CutError
        self._file.seek(self._start + self._place)
        done = 0
        while done < len(buffer):
            count = self._file.readinto(buffer[done : done + 2**24])  # type: ignore[attr-defined]
            if not count:
                raise CutError
            done += count
        self._place += len(buffer)

    def _fill(self, count: int) -> None:
        self._file.seek(self._start + self._place)
        self._chunk = self._file.read(min(max(count, _CHUNK), self.left))
        self._chunk_place = self._place
        if len(self._chunk) < count:
            raise CutError
