"""A watch over what a program does: Python reports what is run, imported, started and connected."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_RUN = re.compile(
    r"exec$|compile$|import$|code\.|cpython\.run|os\.(system|exec|fork|spawn|posix_spawn|startfile|putenv|remove|rename)"
    r"|subprocess\.|socket\.|pickle\.|ctypes\.|pty\.|webbrowser\.|urllib\.|shutil\.|builtins\.(input|breakpoint)"
)


class _Watch:
    """Hooks cannot be taken away again, so there is one for all."""

    def __init__(self) -> None:
        self.on, self.seen = False, list[str]()
        sys.addaudithook(self.note)

    def note(self, event: str, arguments: Any) -> None:
        if self.on and (_RUN.match(event) or (event == "open" and _writes(arguments))):
            self.seen.append(f"{event} {str(arguments)[:200]}")


def _writes(arguments: Any) -> bool:
    mode = arguments[1] if len(arguments) > 1 else None
    return isinstance(mode, str) and any(letter in mode for letter in "wax+")


_watch = cache(_Watch)


@contextmanager
def nothing_runs() -> Iterator[None]:
    """Fails when within it a text or code object is run or compiled, anything imported that is not there yet, or a
    process started, a connection opened, a file written, or Python's own reader of pickles asked for a class.
    """
    watch = _watch()
    watch.seen.clear()
    watch.on = True
    try:
        yield
    finally:
        watch.on = False
    assert not watch.seen, watch.seen
