"""What a conversion has done so far, in an SQLite file beside the destination: an interrupted one continues from there.

SQLite keeps the file whole through crashes, full disks and power cuts, and lets only one process write.
"""

import errno
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from imaging.opening import LARGEST_FILE

COMMIT_SECONDS = 5.0  # work that a power cut may cost
APPLICATION = 0x496D6757  # marks the SQLite file as one of ours
MAGIC, MARK = b"SQLite format 3\0", APPLICATION.to_bytes(4, "big")  # the beginning of a header, and its end
HEAD = 72  # bytes
TABLES = """
    PRAGMA cache_size = -32768;
    PRAGMA trusted_schema = OFF;
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT);
    CREATE TABLE IF NOT EXISTS done (number INTEGER PRIMARY KEY, data BLOB, digest BLOB, enlarged INTEGER, reason TEXT);
"""


class Done(NamedTuple):
    """What became of image `number` of a source: a PNG file, or the reason it is left out."""

    number: int
    data: bytes | None = None
    digest: int = 0  # 64 bits of the source image's pixels
    enlarged: bool = False
    reason: str | None = None


class WorkFile:
    """The images that are done, and what was settled before the first. See `work_file`."""

    def __init__(self, place: Path, database: sqlite3.Connection) -> None:
        self._place, self._database = place, database
        self._committed = time.monotonic()

    def get(self, key: str) -> Any:
        """A value that was set; None if there is none."""
        found = self._database.execute("SELECT value FROM about WHERE key = ?", [key]).fetchone()
        with self.reading():
            return json.loads(found[0]) if found else None

    def set(self, key: str, value: Any) -> None:
        """Keep a value of JSON."""
        self._database.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", [key, json.dumps(value)])

    def append(self, done: Done) -> None:
        """Keep an image. At most the last five seconds of work are lost, however the program ends."""
        digest, reason = done.digest.to_bytes(8, "little"), json.dumps(done.reason)
        row = (done.number, done.data, digest, done.enlarged, reason)
        self._database.execute("INSERT INTO done VALUES (?, ?, ?, ?, ?)", row)
        if time.monotonic() - self._committed >= COMMIT_SECONDS:
            self.commit()
            self._database.execute("BEGIN IMMEDIATE")

    def rows(self, with_data: bool) -> Iterator[Done]:
        """All images in order. Without `with_data` every `data` is None."""
        data = "data" if with_data else "NULL"
        for number, content, digest, enlarged, reason in self._database.execute(
            f"SELECT number, {data}, digest, enlarged, reason FROM done ORDER BY number"
        ):
            with self.reading():
                done = Done(number, content, int.from_bytes(digest, "little"), bool(enlarged), json.loads(reason))
                if number < 0 or not isinstance(content, bytes | None) or not isinstance(done.reason, str | None):
                    raise TypeError
            yield done

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Around what looks at values of the file: whatever they lead to is one ValueError."""
        try:
            yield
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise _damaged(self._place) from error

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

    `plan` is all that the result depends on, and under "options" what the user gave, by flag; `restart` drops what an
    interrupted run has done. ValueError if another process writes to `dest`, an interrupted run had another plan, or
    the file is not ours; OSError, with the name of `dest`, of the system.
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
            _same_plan(dest, work, json.loads(json.dumps(plan)))
            try:
                yield work
                finished = True
            finally:
                nothing = not database.execute("SELECT count(data) FROM done").fetchone()[0]
                work.commit()
    except sqlite3.Error as error:
        raise _told(dest, error) from error
    finally:
        if nothing or finished:
            place.unlink(missing_ok=True)


def _same_plan(dest: Path, work: WorkFile, plan: dict[str, Any]) -> None:
    before = work.get("plan")
    if before in (None, plan):
        work.set("plan", plan)
        return
    with work.reading():
        names = [name for name in plan["options"] if before["options"].get(name) != plan["options"][name]]
        others = [name for name in plan if before.get(name) != plan[name]]
        difference = f"another {(others or ['plan'])[0]}"
        if names:
            difference = f"{names[0]} {before['options'].get(names[0])}, not {plan['options'][names[0]]}"
    raise ValueError(
        f"an interrupted run began {dest} with {difference}: repeat its options to continue it, or start over with "
        f"--restart"
    )


def _is_ours(place: Path) -> bool:
    """Whether there is a work file. ValueError if there is something else; links are not followed."""
    if not os.path.lexists(place):
        return False
    head = b""
    if place.is_file() and not place.is_symlink():
        with place.open("rb") as file:
            head = file.read(HEAD) or MAGIC + MARK
    if not head.startswith(MAGIC) or not head.endswith(MARK):
        raise ValueError(
            f"{place} is not the work file of an interrupted conversion: move it elsewhere, or name another --dest"
        )
    return True


def _damaged(place: Path) -> ValueError:
    return ValueError(f"{place}, the work file of an interrupted run, is damaged: start over with --restart")


def _told(dest: Path, error: sqlite3.Error) -> Exception:
    """An error of SQLite as one that names `dest`."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return ValueError(f"{dest} is being written by another process: wait for it to end")
    if code == sqlite3.SQLITE_FULL:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(dest))
    if code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH):
        return OSError(errno.EACCES, f"cannot be written ({error})", str(dest))
    return _damaged(place_of(dest))
