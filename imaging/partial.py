"""A resumable archive writer: an interrupted conversion continues where it stopped.

Beside `dest`, in `.NAME.partial`, lie the pictures so far and a journal with a line for each that was dealt with.

The journal's first two lines are the plan, by which a later run knows whether it is the same one, and what was settled
before the first picture. Pictures are forced to the disk before the journal speaks of them.
"""

import json
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any, Self

from imaging import partialfolder
from imaging.archive import INDEX, SOURCES
from imaging.archivewriter import check_no_folder, is_zip_name, picture_name
from imaging.partialfolder import place_of
from imaging.partialjournal import HEAD_LINES, Line, difference, read_head, whole_lines
from imaging.storedzip import Entry, header, write_directory
from imaging.writing import Outcome, Writer, source_table
from system.files import check_vacant, naming
from system.locks import BusyError, locked

SYNC_SECONDS = 5.0  # as much work as a power cut may cost


class PartialArchive(Writer):
    """Writes a ZIP or a folder. An interrupted run leaves its part, where there is any, for the next one."""

    def __init__(self, dest: Path, plan: Mapping[str, Any], restart: bool = False) -> None:
        super().__init__(dest)
        self.plan = json.loads(json.dumps(plan))
        self.place = place_of(dest)
        self._pictures = self.place / (partialfolder.PICTURES_ZIP if is_zip_name(dest) else partialfolder.PICTURES)
        self._journal_path = self.place / partialfolder.JOURNAL
        self._written = self._end = 0  # pictures; bytes of the ZIP
        self._lines: list[str] = []  # not yet in the journal
        self._synced = time.monotonic()
        self._exit = ExitStack()
        self._zip: IO[bytes] | None = None
        if not restart:
            self._find()
        self._goes_on = self.settled is not None

    def _find(self) -> None:
        """Sets `settled` when there is something to go on with. ValueError when it was made by another plan."""
        partialfolder.check(self.place)
        try:
            with partialfolder.opened(self._journal_path, "rb") as journal:
                plan, settled = read_head(journal)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return
        if not self._pictures.exists():
            return
        if self.plan != plan:
            raise ValueError(
                f"{self.dest} was begun by an interrupted run {difference(plan, self.plan)}: give the same as then to "
                f"go on, or --restart to begin anew"
            )
        self.settled = settled

    def earlier(self) -> Iterator[Outcome]:
        return (line.outcome for line in self._journal_lines())

    def __enter__(self) -> Self:
        if is_zip_name(self.dest):
            check_no_folder(self.dest)
        else:
            check_vacant(self.dest)
        self._exit.enter_context(naming(self.dest, self.place))
        partialfolder.check(self.place)
        self.place.mkdir(parents=True, exist_ok=True)
        try:
            self._exit.enter_context(locked(self.place / partialfolder.LOCK))
        except BusyError:
            self._exit.close()
            raise ValueError(f"{self.dest} is being written by another process: wait for it to end") from None
        try:
            self._begin()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def _begin(self) -> None:
        if not self._goes_on:
            partialfolder.clear(self.place, keep_lock=True)
            if self._pictures.exists():
                other = next(self._pictures.rglob("*"), self._pictures)
                raise ValueError(f"{other} is not of an interrupted run: move it elsewhere, or name another --dest")
            with self._journal_path.open("x") as journal:
                journal.write(json.dumps(self.plan) + "\n" + json.dumps(self.settled) + "\n")
            self._pictures.touch() if is_zip_name(self.dest) else self._pictures.mkdir()
        self._cut()
        if is_zip_name(self.dest):
            file = self._zip = self._exit.enter_context(partialfolder.opened(self._pictures, "r+b"))
            file.truncate(self._end)
            file.seek(self._end)

    def _cut(self) -> None:
        """Cuts the journal after the last line whose picture is there."""
        good = 0
        with partialfolder.opened(self._journal_path, "rb+") as journal:
            for number, line in enumerate(whole_lines(journal)):
                if number >= HEAD_LINES and not self._take(line):
                    break
                good += len(line)
            journal.truncate(good)

    def _take(self, line: bytes) -> bool:
        try:
            found = Line.read(line, len(self.names))
        except ValueError:
            return False
        if found.crc is None or found.size is None:
            return True
        return self._holds(found.crc, found.size, found.outcome)

    def _holds(self, crc: int, size: int, outcome: Outcome) -> bool:
        """Whether the next picture, of which the journal says this, is there; if so, the one after it is the next."""
        entry = Entry(picture_name(self._written), crc, size, self._end)
        there = self._pictures if is_zip_name(self.dest) else self._pictures / entry.name
        wanted = entry.end if is_zip_name(self.dest) else entry.size
        if not there.exists() or there.stat().st_size < wanted:
            return False
        self._written, self._end = self._written + 1, entry.end
        return True

    def note(self, outcome: Outcome, data: bytes | None) -> None:
        crc = size = None
        if data is not None:
            crc, size = zlib.crc32(data), len(data)
            self._write(picture_name(self._written), data)
            self._written += 1
        self._lines.append(str(Line(crc, size, outcome)))
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            self._sync()

    def _write(self, name: str, data: bytes) -> None:
        if self._zip is not None:
            entry = Entry.of(name, data, self._end)
            self._zip.write(header(entry) + data)
            self._end = entry.end
        else:
            path = self._pictures / name
            path.parent.mkdir(exist_ok=True)
            path.unlink(missing_ok=True)  # what was half-written
            with path.open("xb") as file:
                file.write(data)

    def _sync(self) -> None:
        if self._zip is not None:
            self._zip.flush()
            os.fsync(self._zip.fileno())
        with partialfolder.opened(self._journal_path, "a") as journal:
            journal.writelines(self._lines)
            journal.flush()
            os.fsync(journal.fileno())
        self._lines, self._synced = [], time.monotonic()

    def __exit__(self, *failure: Any) -> None:
        try:
            if failure[0] is None:
                self._finish()
            elif self._written:
                self._sync()
        except BaseException:
            self._leave(*sys.exc_info())
            raise
        self._leave(*failure)

    def _leave(self, *failure: Any) -> None:
        done = failure[0] is None
        if done or pending(self.dest) == 0:
            with suppress(OSError):
                partialfolder.clear(self.place)
        self._exit.__exit__(*failure)

    def _finish(self) -> None:
        if not self._written:
            raise ValueError(f"{self.dest} would hold no images and was not written")
        self._sync()
        if self._zip is None:
            for name, pieces in self._tables():
                with (self._pictures / name).open("wb") as file:
                    file.writelines(pieces())
        else:
            self._finish_zip(self._zip)
        self._pictures.replace(self.dest)

    def _finish_zip(self, file: IO[bytes]) -> None:
        tables: list[Entry] = []
        for name, pieces in self._tables():
            crc = size = 0
            for piece in pieces():
                crc, size = zlib.crc32(piece, crc), size + len(piece)
            tables.append(Entry(name, crc, size, tables[-1].end if tables else self._end))
            file.write(header(tables[-1]))
            file.writelines(pieces())
        write_directory(file, self._entries(tables), tables[-1].end)
        file.flush()
        os.fsync(file.fileno())

    def _entries(self, tables: Sequence[Entry]) -> Iterator[Entry]:
        place = 0
        for number, line in enumerate(self._written_lines()):
            entry = Entry(picture_name(number), line.crc or 0, line.size or 0, place)
            place = entry.end
            yield entry
        yield from tables

    def _tables(self) -> Iterator[tuple[str, Callable[[], Iterable[bytes]]]]:
        """The files beside the pictures: name, and what gives their content in pieces."""
        yield INDEX, lambda: (text.encode() for text in self._index())
        if self.names:
            yield SOURCES, lambda: source_table(self._sources(picture_name))

    def _sources(self, name: Callable[[int], str]) -> Iterator[tuple[str, str]]:
        """(file in the set, name in the source) of every picture written."""
        return ((name(n), self.names[line.outcome.number]) for n, line in enumerate(self._written_lines()))

    def _index(self) -> Iterator[str]:
        """dataset.json in pieces (ASCII), as json.dumps writes it."""
        labelled = ([picture_name(n), line.outcome.label] for n, line in enumerate(self._written_lines()))
        yield '{"labels": '
        opened = False
        for name, label in labelled:
            if label is None:
                break
            yield ("[" if not opened else ", ") + json.dumps([name, label])
            opened = True
        yield "]" if opened else "null"
        about = json.dumps(self.about)
        yield f", {about[1:]}" if self.about else "}"

    def _written_lines(self) -> Iterator[Line]:
        return (line for line in self._journal_lines() if line.crc is not None)

    def _journal_lines(self) -> Iterator[Line]:
        with partialfolder.opened(self._journal_path, "rb") as journal:
            for line in islice(whole_lines(journal), HEAD_LINES, None):
                yield Line.read(line, len(self.names))


def pending(dest: Path) -> int:
    """How many pictures of an unfinished conversion to `dest` are dealt with; 0 when there is nothing to go on with."""
    try:
        if place_of(dest).is_symlink():
            return 0
        with partialfolder.opened(place_of(dest) / partialfolder.JOURNAL, "rb") as journal:
            return max(sum(1 for _ in whole_lines(journal)) - HEAD_LINES, 0)
    except OSError:
        return 0
