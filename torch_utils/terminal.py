"""Standard output and standard error: what is written there is harmless, and no failure to write it stops the work."""

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

# What progress bars send to a terminal: a carriage return before or after a line, and moves from line to line.
_BAR = re.compile(r"(\r?)(.*?)(\r?)", re.DOTALL)
_MOVES = re.compile(r"\n*(?:\x1b\[A)*")


def shown(text: str) -> str:
    """The text as it may be printed and logged: without control characters, and without the secrets of URLs."""
    return harmless(without_secrets(text))


def put(text: str, stream: IO[str] | None) -> None:
    """Write a text, harmless and in letters that the stream has. A stream that is None, closed or full is passed over.

    Args:
        text: with the ends of its lines.
        stream: such as `sys.stdout`.
    """
    _write(shown(text), stream)
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether a stream is there, open, and leads to a terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # it is closed
        return False


@contextlib.contextmanager
def steady(rank: int = 0) -> Iterator[None]:
    """Within the block `sys.stdout` and `sys.stderr` take any text and never fail; then they are as before.

    For scripts, which own their streams. Of several processes those other than the first have no standard output, and
    each line of their standard error begins with their rank.
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
    """A text stream over another one whose failures are nobody's business.

    Args:
        stream: where the text goes.
        prefix: at the beginning of each line. With one, the stream does not count as a terminal: no bars are drawn.
    """

    def __init__(self, stream: IO[str], prefix: str = "") -> None:
        self.stream, self.prefix = stream, prefix
        self._at_start = True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"a text is wanted, got {type(text).__name__}")
        if not self.isatty():
            _write(self._prefixed(shown(text)), self.stream)
        elif not _MOVES.fullmatch(text) and (found := _BAR.fullmatch(text)):
            _write(found[1] + shown(found[2]) + found[3], self.stream)
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
    """The stream under one of `steady`, without a prefix; any other as it is."""
    return stream.stream if isinstance(stream, Steady) else stream


def _write(text: str, stream: IO[str] | None) -> None:
    if stream is None:
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    with contextlib.suppress(OSError, ValueError):
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _occupy_descriptors() -> None:
    """Opens what was closed of the descriptors 0, 1 and 2: files opened later would get them, and what is printed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # the lowest that is free


def _settle(stream: IO[str] | None) -> None:
    """Sends what cannot be written to nowhere, lest the interpreter complains of it at its end."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
            os.close(nowhere)
