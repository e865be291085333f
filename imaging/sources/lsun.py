"""LSUN: an LMDB database whose values are WebP or JPEG files.

The library maps a database into memory and trusts every number in it, so that a damaged or hostile file can crash the
process. Therefore another process reads it, and its death is an error like any other.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from imaging.opening import LARGEST_FILE, RefusedError, check_file, parsing
from imaging.sources.source import SequentialSource, needing
from system.text import printable

FOUND, FAILED = b"=", b"!"

Ask = Callable[[bytes], bytes]


class LsunSource(SequentialSource):
    """The images in the order of their keys."""

    kind = "an LSUN database"

    def __init__(self, path: Path) -> None:
        file = path / "data.mdb" if path.is_dir() else path
        check_file(file)
        needing("lmdb", "LSUN databases")
        with parsing(file, "a complete LMDB database", "copy it again"), _reader(file) as ask:
            self._keys = [bytes.fromhex(key) for key in ask(b"").decode().split()]
        super().__init__(path, tuple(printable(key.decode("latin-1")) for key in self._keys), [file])

    def part(self, number: int) -> Iterator[Callable[[], bytes]]:
        with _reader(self.files[0]) as ask:
            yield from (partial(ask, key) for key in self._keys)


@contextmanager
def _reader(file: Path) -> Iterator[Ask]:
    """Start a process that reads a database: it gives the value of a key, or all keys in hexadecimal for b"".

    ValueError if the value cannot be read; RefusedError if the process dies.
    """
    context = multiprocessing.get_context("spawn")
    pipe, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, str(file.absolute())), daemon=True)
    process.start()
    there.close()

    def ask(key: bytes) -> bytes:
        try:
            pipe.send_bytes(key)
            answer = pipe.recv_bytes(LARGEST_FILE + 1)
        except (OSError, EOFError) as error:
            why = "the process that reads it crashed"
            raise RefusedError(
                f"{printable(str(file))} is not a complete LMDB database ({why}): copy it again"
            ) from error
        if answer[:1] != FOUND:
            raise ValueError(answer[1:].decode("utf-8", "replace"))
        return answer[1:]

    try:
        yield ask
    finally:
        process.kill()
        process.join()
        pipe.close()


def _serve(pipe: Connection, path: str) -> None:
    """Answer questions until the pipe is closed."""
    import lmdb

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets Ctrl-C too, and ends its reader
    transaction = None
    while True:
        try:
            key = pipe.recv_bytes()
        except EOFError:
            return
        try:
            if transaction is None:
                # Nothing is written to the folder, not even a lock: data sets may lie on read-only disks.
                database = lmdb.open(path, subdir=False, readonly=True, lock=False, readahead=False, create=False)
                transaction = database.begin(buffers=True)
            found = transaction.get(key) if key else b" ".join(_keys(transaction.cursor()))
            if found is None or len(found) > LARGEST_FILE:
                raise ValueError("a value is missing" if found is None else f"a value has {len(found)} bytes")
            answer = FOUND + found
        except Exception as error:  # the library's errors have no other common parent
            answer = FAILED + str(error).removeprefix(f"{path}: ").encode()[:200]
        pipe.send_bytes(answer)


def _keys(cursor: Iterable[object]) -> Iterator[bytes]:
    """The keys in order, in hexadecimal; damage may lead around in circles."""
    before = b""
    for each in cursor.iternext(values=False):  # type: ignore[attr-defined]
        key = bytes(each)
        if key <= before:
            raise ValueError("its keys are not in order")
        yield key.hex().encode()
        before = key
