"""LSUN: an LMDB database whose values are WebP or JPEG files."""

import os
from pathlib import Path
from typing import Any

from imaging.sources.source import Source, identity_of, needing

_opened: dict[Path, tuple[int, Any]] = {}  # the library allows a process to open a database once, and only for itself


class LsunSource(Source):
    """The pictures in the order of their keys."""

    kind = "an LSUN database"

    def __init__(self, path: Path) -> None:
        self.file = path / "data.mdb" if path.is_dir() else path
        _close(self.file)  # it may be another one since
        super().__init__(path, self._keys(path))

    def _keys(self, path: Path) -> tuple[str, ...]:
        try:
            with _environment(self.file).begin() as transaction, transaction.cursor() as cursor:
                return tuple(bytes(key).decode("latin-1") for key in cursor.iternext(values=False))
        except ValueError:
            raise
        except Exception as error:  # lmdb's errors have no common parent but this
            raise ValueError(f"{path} is not a complete LMDB database ({error}): copy it again") from error

    def read(self, index: int) -> bytes:
        name = self.names[index]
        try:
            with _environment(self.file).begin() as transaction:
                value = transaction.get(name.encode("latin-1"))
        except Exception as error:
            raise ValueError(f"{name} in {self.path} cannot be read: {error}") from error
        if value is None:
            raise ValueError(f"{name} in {self.path} cannot be read: it is not there any more")
        return bytes(value)

    def identity(self) -> str:
        return identity_of([self.file])


def _environment(file: Path) -> Any:
    """The open database; what a process inherited over a fork is opened anew."""
    owner, environment = _opened.get(file, (0, None))
    if owner != os.getpid():
        with needing("lmdb", "LSUN databases"):
            import lmdb
        _close(file)
        # Nothing is written to the folder, not even a lock: data sets lie on disks that are read-only.
        environment = lmdb.open(str(file), subdir=False, readonly=True, lock=False, readahead=False, create=False)
        _opened[file] = (os.getpid(), environment)
    return environment


def _close(file: Path) -> None:
    if file in _opened:
        _opened.pop(file)[1].close()
