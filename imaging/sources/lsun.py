"""LSUN: an LMDB database whose values are WebP or JPEG files.

The library maps a database into memory and trusts every number in it, so that a damaged or hostile file can crash the
process. Therefore another process (`lmdbreader.py`) reads it, and its death is an error like any other.
"""

import os
import struct
import subprocess
import sys
from pathlib import Path

from imaging.opening import LARGEST_FILE, RefusedError, check_file
from imaging.sources.lmdbreader import ANSWER, FAILED, KEY, LENGTH, MISSING
from imaging.sources.source import Source, identity_of, needing
from system.text import printable

READER = Path(__file__).with_name("lmdbreader.py")


class LsunSource(Source):
    """The images in the order of their keys."""

    kind = "an LSUN database"

    def __init__(self, path: Path) -> None:
        self.file = path / "data.mdb" if path.is_dir() else path
        check_file(self.file)
        with needing("lmdb", "LSUN databases"):
            import lmdb  # noqa: F401
        self._reader: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._keys: list[bytes] = []
        while answer := self._ask(b"k", b""):
            place, head = 0, struct.calcsize(KEY)
            while place < len(answer):
                end = place + head + struct.unpack_from(KEY, answer, place)[0]
                self._keys.append(answer[place + head : end])
                place = end
        super().__init__(path, tuple(printable(key.decode("latin-1")) for key in self._keys))

    def read(self, index: int) -> bytes:
        try:
            return self._ask(b"v", self._keys[index])
        except ValueError as error:
            raise ValueError(f"{self.names[index]} cannot be read: {error}") from error

    def identity(self) -> str:
        return identity_of([self.file])

    def _ask(self, question: bytes, key: bytes) -> bytes:
        """The reader's answer: the next keys, b"" at the end, or a value. ValueError if it dies or refuses."""
        reader = self._running()
        assert reader.stdin is not None and reader.stdout is not None
        try:
            reader.stdin.write(question + struct.pack(LENGTH, len(key)) + key)
            reader.stdin.flush()
            status, size = struct.unpack(ANSWER, reader.stdout.read(struct.calcsize(ANSWER)))
            answer = reader.stdout.read(size)
        except (OSError, struct.error) as error:
            self._reader = None
            reader.kill()
            reader.wait()
            raise self._damaged("the process that reads it crashed") from error
        if status == MISSING:
            raise RefusedError(f"it is no longer in {self.file}")
        if status == FAILED:
            raise self._damaged(printable(answer.decode("utf-8", "replace"), 120))
        return answer

    def _running(self) -> "subprocess.Popen[bytes]":
        """The process that reads. One inherited over a fork belongs to the parent."""
        if self._reader is None or self._owner != os.getpid():
            command = [sys.executable, "-P", str(READER), str(self.file.absolute()), str(LARGEST_FILE)]
            pipe, null = subprocess.PIPE, subprocess.DEVNULL
            self._reader = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=null, start_new_session=True)
            self._owner = os.getpid()
        return self._reader

    def _damaged(self, why: str) -> RefusedError:
        return RefusedError(f"{printable(str(self.file))} is not a complete LMDB database ({why}): copy it again")

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_reader": None}

    def __del__(self) -> None:
        reader = getattr(self, "_reader", None)
        if reader is not None and self._owner == os.getpid():
            reader.kill()
            reader.wait()
