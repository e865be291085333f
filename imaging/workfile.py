"""What a conversion has done so far, in an SQLite file beside the destination: an interrupted one continues from there.

SQLite keeps the file whole through crashes, full disks and power cuts, and lets only one process write.
"""

import errno
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import InstanceOf, TypeAdapter

from imaging.opening import LARGEST_FILE

COMMIT_SECONDS = 5.0  # work that a power cut may cost
APPLICATION = 0x496D6757  # marks the SQLite file as one of ours
MAGIC, MARK = b"SQLite format 3\0", APPLICATION.to_bytes(4, "big")  # the beginning of a header of 72 bytes, and its end
TABLES = """
    PRAGMA cache_size = -32768;
    PRAGMA trusted_schema = OFF;
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value TEXT);
    CREATE TABLE IF NOT EXISTS done (number INTEGER PRIMARY KEY, data BLOB, about TEXT);
"""

Kept = TypeVar("Kept")


class Done(NamedTuple):
    """What became of image `number` of a source: a PNG file, or the reason it is left out."""

    number: int
    data: bytes | None = None
    digest: int = 0  # 64 bits of the source image's pixels
    enlarged: bool = False
    reason: InstanceOf[str] | None = None  # may have bytes that are not UTF-8


DONE, PLAN = TypeAdapter(Done), TypeAdapter(dict[str, Any])


class WorkFile:
    """The images that are done, and what was settled before the first. See `work_file`."""

    def __init__(self, place: Path, database: sqlite3.Connection) -> None:
        self._place, self._database = place, database
        self._committed = time.monotonic()

    def kept(self, key: str, kind: TypeAdapter[Kept], make: Callable[[], Kept]) -> Kept:
        """A value that is made once and kept, as JSON."""
        found = self._database.execute("SELECT value FROM kept WHERE key = ?", [key]).fetchone()
        if found is not None:
            return self._checked(lambda: kind.validate_python(json.loads(found[0])))
        value = make()
        self._database.execute("INSERT INTO kept VALUES (?, ?)", [key, json.dumps(kind.dump_python(value))])
        return value

    def append(self, done: Done) -> None:
        """Keep an image. At most the last five seconds of work are lost, however the program ends."""
        number, data, *about = done
        self._database.execute("INSERT INTO done VALUES (?, ?, ?)", (number, data, json.dumps(about)))
        if time.monotonic() - self._committed >= COMMIT_SECONDS:
            self.commit()
            self._database.execute("BEGIN IMMEDIATE")

    def rows(self, with_data: bool) -> Iterator[Done]:
        """All images in order. Without `with_data` every `data` is None."""
        data = "data" if with_data else "NULL"
        for number, content, about in self._database.execute(f"SELECT number, {data}, about FROM done ORDER BY number"):
            row = self._checked(lambda: (number, content, *json.loads(about)))  # noqa: B023
            yield self._checked(lambda: DONE.validate_python(row, strict=True))  # noqa: B023

    def _checked(self, read: Callable[[], Kept]) -> Kept:
        try:
            return read()
        except (ValueError, TypeError, RecursionError) as error:
            raise self.damaged() from error

    def damaged(self) -> ValueError:
        """The error of a file that does not make sense."""
        return _unusable(self._place, "is damaged")

    def commit(self) -> None:
        """Make sure that the disk has all of it."""
        self._database.commit()
        self._committed = time.monotonic()


def place_of(dest: Path) -> Path:
    """The work file of `dest`."""
    return dest.with_name(f".{dest.name}.partial")


def pending(dest: Path) -> int:
    """How many images of an interrupted conversion to `dest` are done; 0 without one."""
    try:
        if not _is_ours(place_of(dest)):
            return 0
        with closing(sqlite3.connect(place_of(dest), timeout=0)) as database:
            return int(database.execute("SELECT count(*) FROM done").fetchone()[0])
    except (ValueError, sqlite3.Error):
        return 0


@contextmanager
def work_file(dest: Path, plan: dict[str, Any], restart: bool) -> Iterator[WorkFile]:
    """Open the work file of `dest`, or begin one. It is removed if the block ends well, or nothing was done.

    `plan` is all that the result depends on, by name (options of the user by flag); `restart` drops what an interrupted
    run has done. ValueError if another process writes to `dest`, an interrupted run had another plan, or the file is
    not ours or unusable; OSError, with the name of `dest`, if the disk is full.
    """
    place = place_of(dest)
    if _is_ours(place) and restart:
        place.unlink()
    place.parent.mkdir(parents=True, exist_ok=True)
    nothing = finished = False
    try:
        with closing(sqlite3.connect(place, timeout=0, isolation_level=None)) as database:
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_FILE)
            database.executescript(f"PRAGMA page_size = 65536; PRAGMA application_id = {APPLICATION}; {TABLES}")
            database.execute("PRAGMA busy_timeout = 60000")  # others may look how far it is
            work = WorkFile(place, database)
            before = work.kept("plan", PLAN, lambda: plan)
            if changed := next((key for key in plan if before.get(key) != plan[key]), None):
                another = f"{changed} {before.get(changed)}, not {plan[changed]}"
                raise ValueError(
                    f"an interrupted run began {dest} with {another if changed[0] == '-' else f'another {changed}'}: "
                    f"repeat its options to continue it, or start over with --restart"
                )
            try:
                yield work
                finished = True
            finally:
                nothing = not database.execute("SELECT count(data) FROM done").fetchone()[0]
                work.commit()
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise ValueError(f"{dest} is being written by another process: wait for it to end") from error
        if code == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(dest)) from error
        raise _unusable(place, f"cannot be used ({error}) or is damaged") from error
    finally:
        if nothing or finished:
            place.unlink(missing_ok=True)


def _is_ours(place: Path) -> bool:
    """Whether there is a work file. ValueError if there is something else; links are not followed."""
    if not os.path.lexists(place):
        return False
    head = b""
    if place.is_file() and not place.is_symlink():
        with place.open("rb") as file:
            head = file.read(72) or MAGIC + MARK
    if not head.startswith(MAGIC) or not head.endswith(MARK):
        raise ValueError(
            f"{place} is not the work file of an interrupted conversion: move it elsewhere, or name another --dest"
        )
    return True


def _unusable(place: Path, why: str) -> ValueError:
    return ValueError(f"{place}, the work file of an interrupted run, {why}: start over with --restart")
