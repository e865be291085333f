"""Work in a forked process: it has everything imported, and may be killed."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path


def status_of(work: Callable[[], object], output: Path) -> int:
    """Does the work in a child; returns its exit code, or minus the signal that killed it. 70 is an exception."""
    child = os.fork()
    if child == 0:
        code = 0
        with output.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            sys.stdout = sys.stderr = file
            try:
                work()
            except BaseException:
                traceback.print_exc(file=file)
                code = 70
            file.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
