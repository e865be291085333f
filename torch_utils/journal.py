"""What a run writes line by line: `log.txt`, and files of one JSON object a line such as `stats.jsonl`.

A run folder may come from a stranger. So files that are appended to are opened as plain files, never through a link,
and lines are read with bounds: no line, number or nesting that a run would not write gets further than this module.
"""

import contextlib
import json
import math
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TextIO

from system.files import replacing
from torch_utils.terminal import put, shown

LONGEST_LINE = 2**22  # bytes; a tick of thousands of statistics takes a few hundred thousand
LARGEST_LINES = 2**30  # bytes of all lines; a run of 25,000 kimg writes some ten million
LARGEST_WHOLE = 2**63 - 1
LARGEST_COUNT = 2**53  # images: up to here a float holds every whole number
DEEPEST = 16  # levels of a JSON object; those of runs have four

_NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)  # which Windows does not have


class StatsFile:
    """`stats.jsonl`: one JSON object a line, each with `seen`, the number of real images shown."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def append(self, seen: int, record: Mapping[str, Any]) -> None:
        """Adds one line. JSON has no nan and no infinity: they are written as null."""
        line = json.dumps({"seen": seen} | {key: _sayable(value) for key, value in record.items()})
        with appending(self.path) as file:
            file.write(line + "\n")

    def amend(self, seen: int, record: Mapping[str, Any]) -> None:
        """Adds what was found out later about the moment of the last line; about another moment, a line of its own."""
        last, start = self._last()
        if last.get("seen") != seen:
            self.append(seen, record)
            return
        with self.path.open("r+b") as file:
            file.truncate(start)
        self.append(seen, {name: value for name, value in last.items() if name != "seen"} | dict(record))

    def _last(self) -> tuple[dict[str, Any], int]:
        """The last line and where it starts; empty where it was cut short."""
        if not self.path.exists():
            return {}, 0
        with self.path.open("rb") as file:
            last, end = b"", 0
            for line in file:
                last, end = line, end + len(line)
        found = json_object(last)
        return ({}, end) if found is None else (found, end - len(last))

    def rewind(self, seen: int) -> None:
        """Drops what lies after `seen` images, and a last line that was cut short, so that a resumed run goes on."""
        if self.path.exists():
            rewrite(self.path, (record for record in self.read() if record["seen"] <= seen))

    def read(self) -> Iterator[dict[str, Any]]:
        """The records that are whole, in order. In each, `seen` is a whole number from 0 to 2**53."""
        return (record for record in json_lines(self.path) if is_count(record.get("seen")))


class Log:
    """Says lines on the terminal and keeps them in a file (`log.txt`), after those of earlier sessions."""

    def __init__(self, path: Path | str, terminal: TextIO | None = None) -> None:
        """`terminal` is standard output unless given."""
        self._file = appending(Path(path))
        self._terminal = terminal

    def __call__(self, text: str = "") -> None:
        self.keep(text)
        # Looked up at each line: whoever captures standard output later shall have the line too. When its reader has
        # gone, or its disk is full, the run goes on.
        put(f"{text}\n", self._terminal or sys.stdout)

    def keep(self, text: str) -> None:
        """A line for the file alone. Control characters are spelled out, secrets of URLs are left out."""
        self._file.write(f"{shown(text)}\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of one JSON object a line, in order, as `json_object` gives them.

    Lines that are none, are cut short, or are longer than 4 MiB are passed over. The file is read as the lines are
    asked for. Raises FileNotFoundError when it is not there, and ValueError when it is not a plain file or is larger
    than 1 GiB.
    """
    with os.fdopen(_descriptor(path, os.O_RDONLY), "rb") as file:
        if os.fstat(file.fileno()).st_size > LARGEST_LINES:
            raise ValueError(
                f"{path} is larger than 1 GiB, which no run writes: remove it, or put the file in its place"
            )
        while line := file.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
            elif (found := json_object(line)) is not None:
                yield found


def json_object(text: str | bytes) -> dict[str, Any] | None:
    """The JSON object that a text spells; None where it spells none, or nests deeper than 16 levels.

    Numbers that are infinite, nan, or whole and beyond 64 bits are None in it, as runs write null for them.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    try:
        found = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and _is_shallow(found, DEEPEST) else None


def is_count(value: Any) -> bool:
    """Whether a value out of a file is a whole number from 0 to 2**53, as counts of images are."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_COUNT


def rewrite(path: Path, records: Iterator[dict[str, Any]]) -> None:
    """Replaces a file of JSON lines by these records, which may be read from it meanwhile."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def appending(path: Path) -> IO[str]:
    """Opens a text file at its end, made where there is none. ValueError when it is a link or no plain file."""
    descriptor = _descriptor(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NO_LINK)
    return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")


def check_plain(folder: Path) -> None:
    """Makes sure that a folder holds plain files and folders only, before anything is written into it.

    Raises:
        ValueError: for a symbolic link, through which another file would be written, and for a FIFO or a device.
    """
    for path in sorted(folder.iterdir()):
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise _not_plain(path, mode)


def _descriptor(path: Path, flags: int) -> int:
    """Opens a file that must be a plain one; a FIFO is not waited for."""
    with contextlib.suppress(FileNotFoundError):
        state = path.lstat() if flags & _NO_LINK else path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise _not_plain(path, state.st_mode)
        if flags & _NO_LINK and state.st_nlink > 1:
            with replacing(path) as temporary:  # a file of two names, as in a backup by `cp -al`: the other one stays
                shutil.copyfile(path, temporary)
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0), 0o666)


def _not_plain(path: Path, mode: int) -> ValueError:
    kinds = {stat.S_IFLNK: "symbolic link", stat.S_IFIFO: "FIFO", stat.S_IFDIR: "folder"}
    kind = kinds.get(stat.S_IFMT(mode), "special file")
    return ValueError(f"{path} is a {kind}, where a run keeps a plain file: remove it, or put the file in its place")


def _whole(text: str) -> int | None:
    number = int(text) if len(text) <= len(str(-LARGEST_WHOLE)) else LARGEST_WHOLE + 1  # many digits take long
    return number if abs(number) <= LARGEST_WHOLE else None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _is_shallow(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)


def _sayable(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
