"""What the processes that compute for the page have in common."""

import os
import signal
from contextlib import suppress

OUT_OF_MEMORY = "the memory of this device ran out: stop other programs, or start explore.py with --device cpu"


def begin(nice: int = 0) -> None:
    """Leave Ctrl-C to the server, which ends its processes, and give way to others by so many steps of priority."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if nice:
        with suppress(OSError, AttributeError):
            os.nice(nice)
