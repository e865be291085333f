"""Paths on command lines: `~`, and an early check of output folders."""

import os
import re
from pathlib import Path

_HOME = re.compile(r"(?:^|(?<=[=,]))~(?=[/\\,]|$)")  # at the beginning of an argument, or after = or a comma
_REMOTE = re.compile(r"(https?|ftp|s3|gs|hf):/", re.IGNORECASE)  # `Path` merges the two slashes


def expand_home(argument: str) -> str:
    """Expand each `~` at the beginning of a path in a command-line argument; URLs stay.

    A shell expands only at the beginning of an argument: not in `--outdir=~/x`, `inception=~/a.pt` and `~/a,~/b`.
    """
    return argument if "://" in argument else _HOME.sub(lambda _: os.path.expanduser("~"), argument)  # noqa: PTH111


def check_folder(folder: Path, option: str) -> None:
    """Raise ValueError unless files can be written to a folder, which may be missing. Writes nothing.

    Args:
        folder: the folder.
        option: the option and its value as typed, for the error.
    """
    if _REMOTE.match(str(folder)):
        raise ValueError(f"{option} is a URL: files are written to this machine only, so choose a path")
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise ValueError(f"{option} needs a folder, and {nearest} is a file: choose another path")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(f"{option} needs a folder to write to, and {nearest} is read-only: choose another path")
