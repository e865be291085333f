"""Early looks at the paths that users give, so that nobody waits an hour to learn that the result has no place."""

import os
from pathlib import Path


def check_folder(folder: Path, option: str) -> None:
    """Makes sure that files can be written to a folder that is there or can be made. Changes nothing on the disk.

    Args:
        folder: which one.
        option: and value that it comes from, as the user wrote them, for the sentence of the error.

    Raises:
        ValueError: when it is a file or below one, or may not be written to.
    """
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise ValueError(f"{option} needs a folder, and {nearest} is a file: choose another path")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(f"{option} needs a folder to write to, and {nearest} is read-only: choose another path")
