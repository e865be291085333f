"""LSUN: an LMDB database whose values are WebP or JPEG files.

The library maps a database into memory and trusts every number in it, so that a damaged or hostile file can crash the
process. Therefore another process reads it, and its death is an error like any other.
"""

import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from imaging.opening import LARGEST_FILE, RefusedError, check_file
from imaging.sources.source import Content, SequentialSource, identity_of, needing
from system.text import printable

FOUND, MISSING, FAILED = b"=", b"?", b"!"


class LsunSource(SequentialSource):
    """The images in the order of their keys."""

    kind = "an LSUN database"

    def __init__(self, path: Path) -> None:
        self.file = path / "data.mdb" if path.is_dir() else path
        check_file(self.file)
        with needing("lmdb", "LSUN databases"):
            import lmdb  # noqa: F401
        with _Reader(self.file) as reader:
            self._keys = [bytes.fromhex(key) for key in reader.ask(b"").decode().split()]
        super().__init__(path, tuple(printable(key.decode("latin-1")) for key in self._keys))

    def stream(self, indices: Iterable[int]) -> Iterator[tuple[int, Content | ValueError]]:
        with _Reader(self.file) as reader:
            for i in indices:
                try:
                    yield i, reader.ask(self._keys[i])
                except ValueError as error:
                    yield i, ValueError(f"{self.names[i]} cannot be read: {error}")

    def identity(self) -> str:
        return identity_of([self.file])


class _Reader:
    """The process that reads a database, in a `with` block."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> "_Reader":
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, str(self._file.absolute())), daemon=True)
        self._process.start()
        there.close()
        return self

    def __exit__(self, *failure: object) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def ask(self, key: bytes) -> bytes:
        """The value of a key, or all keys in hexadecimal for b"". ValueError if the process dies or refuses."""
        try:
            self._pipe.send_bytes(key)
            answer = self._pipe.recv_bytes(LARGEST_FILE + 1)
        except (OSError, EOFError) as error:
            self.__exit__()
            self.__enter__()
            raise self._damaged("the process that reads it crashed") from error
        if answer[:1] == MISSING:
            raise RefusedError(f"it is no longer in {self._file}")
        if answer[:1] != FOUND:
            raise self._damaged(printable(answer[1:].decode("utf-8", "replace"), 120))
        return answer[1:]

    def _damaged(self, why: str) -> RefusedError:
        return RefusedError(f"{printable(str(self._file))} is not a complete LMDB database ({why}): copy it again")


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
            if found is not None and len(found) > LARGEST_FILE:
                raise ValueError(f"a value has {len(found)} bytes")
            answer = MISSING if found is None else FOUND + found
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
