"""Standard output and standard error: control characters are escaped, and a failed write does not stop the work."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from system.text import harmless, without_secrets

# Control characters of progress bars: a carriage return before or after a line, and moves from line to line.
_BAR = re.compile(r"(\r?)(.*?)(\r?)", re.DOTALL)
_MOVES = re.compile(r"\n*(?:\x1b\[A)*")


def clean(text: str) -> str:
    """Escape control characters and remove the secrets of URLs."""
    return harmless(without_secrets(text))


def put(text: str, stream: IO[str] | None) -> None:
    """Write a text with its line ends to a stream such as `sys.stdout`, and flush.

    The text is cleaned and in the encoding of the stream. A missing, closed or full stream is ignored.
    """
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            stream.write(_encodable(clean(text), stream))
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
    for descriptor in range(3):  # open the closed ones: the next opened files would receive our output
        with contextlib.suppress(OSError):
            try:
                os.fstat(descriptor)
            except OSError:
                os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    with Path(os.devnull).open("w") as nowhere:
        sys.stdout = Steady(nowhere if rank else before[0] or nowhere)
        sys.stderr = Steady(before[1] or nowhere, f"[rank {rank}] " if rank else "")
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
            for stream in filter(None, before):
                try:
                    stream.flush()
                except (OSError, ValueError):  # the interpreter would complain about it at exit
                    with contextlib.suppress(OSError, ValueError):
                        os.dup2(nowhere.fileno(), stream.fileno())


class Steady(io.TextIOBase):
    """A text stream that cleans texts and ignores failures of the stream below it.

    `prefix` is the start of each line. With a prefix the stream is not a terminal: progress bars are not drawn.
    """

    errors = "backslashreplace"

    def __init__(self, stream: IO[str], prefix: str = "") -> None:
        self.stream, self.prefix = stream, prefix
        self._at_start = True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        shown = clean(text)
        if self.isatty():
            bar = _BAR.fullmatch(text)
            shown = text if _MOVES.fullmatch(text) or not bar else bar[1] + clean(bar[2]) + bar[3]
        elif self.prefix and shown:
            begins, self._at_start = self._at_start, shown.endswith("\n")
            body = shown.removesuffix("\n").replace("\n", f"\n{self.prefix}")
            shown = self.prefix * begins + body + "\n" * self._at_start
        with contextlib.suppress(OSError, ValueError):
            self.stream.write(_encodable(shown, self.stream))
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


def _encodable(text: str, stream: IO[str]) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
