"""Standard output and standard error: control characters are escaped, and a failed write does not stop the work."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from system.text import harmless
from system.urls import without_secrets

# Control characters of progress bars: a carriage return before or after a line, and moves from line to line.
_BAR = re.compile(r"(\r?)(.*?)(\r?)", re.DOTALL)
_MOVES = re.compile(r"\n*(?:\x1b\[A)*")


def clean(text: str) -> str:
    """Escape control characters and remove the secrets of URLs."""
    return harmless(without_secrets(text))


def put(text: str, stream: IO[str] | None) -> None:
    """Write a text and flush, cleaned and in the encoding of the stream. A missing, closed or full stream is ignored.

    Args:
        text: with its line ends.
        stream: such as `sys.stdout`.
    """
    _write(clean(text), stream)
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether a stream exists, is open, and leads to a terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


@contextlib.contextmanager
def steady(rank: int = 0) -> Iterator[None]:
    """Make `sys.stdout` and `sys.stderr` accept any text and never fail within the block.

    Ranks other than 0 have no standard output, and their lines on standard error begin with their rank.
    """
    before = sys.stdout, sys.stderr
    with Path(os.devnull).open("w") as nowhere:
        _occupy_descriptors()
        sys.stdout = Steady(nowhere if rank else before[0] or nowhere)
        sys.stderr = Steady(before[1] or nowhere, f"[rank {rank}] " if rank else "")
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
            for stream in before:
                _settle(stream)


class Steady(io.TextIOBase):
    """A text stream that cleans texts and ignores failures of the stream below it.

    Args:
        stream: the stream below.
        prefix: start of each line. With a prefix the stream is not a terminal: progress bars are not drawn.
    """

    errors = "backslashreplace"

    def __init__(self, stream: IO[str], prefix: str = "") -> None:
        self.stream, self.prefix = stream, prefix
        self._at_start = True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        if not self.isatty():
            _write(self._prefixed(clean(text)), self.stream)
        elif not _MOVES.fullmatch(text) and (found := _BAR.fullmatch(text)):
            _write(found[1] + clean(found[2]) + found[3], self.stream)
        else:
            _write(text, self.stream)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.stream.flush()

    def isatty(self) -> bool:
        return not self.prefix and is_terminal(self.stream)

    def fileno(self) -> int:
        return self.stream.fileno()

    def writable(self) -> bool:
        return True

    def _prefixed(self, text: str) -> str:
        if not self.prefix or not text:
            return text
        start, self._at_start = self._at_start, text.endswith("\n")
        lines = text.splitlines(keepends=True)
        return "".join(line if i == 0 and not start else self.prefix + line for i, line in enumerate(lines))


def bare(stream: IO[str] | None) -> IO[str] | None:
    """Return the stream below a `Steady`; other streams stay."""
    return stream.stream if isinstance(stream, Steady) else stream


def _write(text: str, stream: IO[str] | None) -> None:
    if stream is None:
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    with contextlib.suppress(OSError, ValueError):
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _occupy_descriptors() -> None:
    """Open the closed ones of the descriptors 0 to 2; otherwise the next opened files would receive our output."""
    for descriptor in range(3):
        with contextlib.suppress(OSError):
            try:
                os.fstat(descriptor)
            except OSError:
                os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


def _settle(stream: IO[str] | None) -> None:
    """Flush a stream. If it fails, redirect it to nowhere: the interpreter would complain about it at exit."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
            os.close(nowhere)
