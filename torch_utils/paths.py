"""Early looks at the paths that users give, so that nobody waits an hour to learn that the result has no place."""

import os
import re
from pathlib import Path

# ~ or ~user at the beginning of an argument, after a comma, or after the = of --option=, NAME= and both.
_HOME = re.compile(r"(?:^|(?<=[=,]))~[^/\\,=]*(?=[/\\,]|$)")
_REMOTE = re.compile(r"(https?|ftp|s3|gs|hf):/", re.IGNORECASE)  # a Path has one slash of two
_IN_URL = re.compile(r"://[^,]*$")


def expand_home(argument: str) -> str:
    """An argument of the command line with each `~` at the beginning of a path replaced by the home folder.

    A shell does so only at the beginning of an argument: not in `--outdir=~/x`, `inception=~/a.pt` and `~/a,~/b`.
    `./~` is a folder of that name. Without a home folder, or for an unknown user, the text stays.
    """

    def expanded(found: re.Match[str]) -> str:
        in_url = _IN_URL.search(argument[: found.start()])
        return found[0] if in_url else os.path.expanduser(found[0])  # noqa: PTH111 (a ~ that stays is no error)

    return _HOME.sub(expanded, argument)


def check_folder(folder: Path, option: str) -> None:
    """Makes sure that files can be written to a folder that is there or can be made. Changes nothing on the disk.

    Args:
        folder: which one.
        option: and value that it comes from, as the user wrote them, for the sentence of the error.

    Raises:
        ValueError: when it is a file or below one, is a URL, or may not be written to.
    """
    if _REMOTE.match(str(folder)):
        raise ValueError(f"{option} is a URL, and files are written to this machine only: choose a path")
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise ValueError(f"{option} needs a folder, and {nearest} is a file: choose another path")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(f"{option} needs a folder to write to, and {nearest} is read-only: choose another path")
