"""LSUN: an LMDB database whose values are WebP or JPEG files."""

import os
from pathlib import Path
from typing import Any

from imaging.sources.source import Source, identity_of, needing


class LsunSource(Source):
    """The pictures in the order of their keys. Each process opens the database for itself, as LMDB demands."""

    kind = "an LSUN database"

    def __init__(self, path: Path) -> None:
        self.file = path / "data.mdb" if path.is_dir() else path
        self._environment: Any = None
        self._owner = 0
        super().__init__(path, self._keys(path))
        self._environment = None  # not to be carried over a fork

    def _keys(self, path: Path) -> tuple[str, ...]:
        try:
            with self._open().begin() as transaction, transaction.cursor() as cursor:
                return tuple(bytes(key).decode("latin-1") for key in cursor.iternext(values=False))
        except ValueError:
            raise
        except Exception as error:  # lmdb's errors have no common parent but this
            raise ValueError(f"{path} is not a complete LMDB database ({error}): copy it again") from error
        finally:
            if self._environment is not None:
                self._environment.close()

    def _open(self) -> Any:
        if self._environment is None or self._owner != os.getpid():
            with needing("lmdb", "LSUN databases"):
                import lmdb
            # Nothing is written to the folder, not even a lock: data sets lie on disks that are read-only.
            self._environment = lmdb.open(
                str(self.file), subdir=False, readonly=True, lock=False, readahead=False, create=False
            )
            self._owner = os.getpid()
        return self._environment

    def read(self, index: int) -> bytes:
        name = self.names[index]
        try:
            with self._open().begin() as transaction:
                value = transaction.get(name.encode("latin-1"))
        except Exception as error:
            raise ValueError(f"{name} in {self.path} cannot be read: {error}") from error
        if value is None:
            raise ValueError(f"{name} in {self.path} cannot be read: it is not there any more")
        return bytes(value)

    def identity(self) -> str:
        return identity_of([self.file])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_environment": None}
