"""The text files of a run: `log.txt`, and files of one JSON object per line such as `stats.jsonl`.

A run folder may come from a stranger: only plain files are appended to, and lines are read with limits.
"""

import contextlib
import json
import math
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TextIO

from system.files import replacing
from system.untrusted import json_object
from torch_utils.terminal import clean, put

LONGEST_LINE = 2**22  # bytes; a tick with thousands of statistics takes some 100,000
LARGEST_LINES = 2**30  # bytes of a file; a run of 25,000 kimg writes some ten million
LARGEST_COUNT = 2**53  # images; floats hold every whole number up to here

_NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)  # missing on Windows


class StatsFile:
    """`stats.jsonl`: a JSON object per line, with `seen`, the number of real images shown so far."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def append(self, seen: int, record: Mapping[str, Any]) -> None:
        """Add a line. nan and infinity are written as null, since JSON has neither."""
        line = json.dumps({"seen": seen} | {key: _finite(value) for key, value in record.items()})
        with appending(self.path) as file:
            file.write(line + "\n")

    def amend(self, seen: int, record: Mapping[str, Any]) -> None:
        """Add values to the last line if it has the same `seen`; otherwise append a line."""
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        found = json_object(lines[-1]) or {} if lines else {}
        if found.pop("seen", None) == seen:
            os.truncate(self.path, sum(map(len, lines[:-1])))
            record = found | dict(record)
        self.append(seen, record)

    def rewind(self, seen: int) -> None:
        """Drop the lines after `seen` images and damaged lines, before a run resumes."""
        if self.path.exists():
            rewrite(self.path, (record for record in self.read() if record["seen"] <= seen))

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the undamaged records in order. `seen` is a whole number from 0 to 2**53."""
        return (record for record in json_lines(self.path) if is_count(record.get("seen")))


class Log:
    """Prints lines on a terminal (a stream; standard output by default) and appends them to a file (`log.txt`)."""

    def __init__(self, path: Path | str, terminal: TextIO | None = None) -> None:
        self._file = appending(Path(path))
        self._terminal = terminal

    def __call__(self, text: str = "") -> None:
        self.keep(text)
        put(f"{text}\n", self._terminal or sys.stdout)  # sys.stdout may have been replaced since the last line

    def keep(self, text: str) -> None:
        """Write a line to the file only, with control characters escaped and secrets of URLs removed."""
        self._file.write(f"{clean(text)}\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of JSON lines. Damaged lines and lines over 4 MiB are skipped.

    Raises FileNotFoundError if it is missing, ValueError if it is not a plain file or larger than 1 GiB.
    """
    with os.fdopen(_descriptor(path, os.O_RDONLY), "rb") as file:
        if os.fstat(file.fileno()).st_size > LARGEST_LINES:
            raise ValueError(f"{path} is larger than 1 GiB, the limit for such a file: remove it")
        while line := file.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
            elif (found := json_object(line)) is not None:
                yield found


def is_count(value: Any) -> bool:
    """Whether a value is a number of images: a whole number from 0 to 2**53."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_COUNT


def rewrite(path: Path, records: Iterator[dict[str, Any]]) -> None:
    """Replace a file of JSON lines by these records, which may be read from the file meanwhile."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def appending(path: Path) -> IO[str]:
    """Open a text file at its end, or create it. Raises ValueError if it is a link or not a plain file."""
    descriptor = _descriptor(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NO_LINK)
    return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")


def check_plain(folder: Path) -> None:
    """Raise ValueError if a folder contains anything but plain files and folders: links, FIFOs, devices."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_dir():
            _check_plain(path, path.lstat().st_mode)


def _descriptor(path: Path, flags: int) -> int:
    """Open a plain file. FIFOs are refused without waiting for a writer."""
    with contextlib.suppress(FileNotFoundError):
        _check_plain(path, (path.lstat() if flags & _NO_LINK else path.stat()).st_mode)
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0), 0o666)


def _check_plain(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFLNK: "symbolic link", stat.S_IFIFO: "FIFO", stat.S_IFDIR: "folder"}
        kind = kinds.get(stat.S_IFMT(mode), "special file")
        raise ValueError(f"{path} is a {kind}, expected a plain file: remove it, or put the file in its place")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
