"""The files of a folder and its sub-folders, each folder once, however links lead to it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from imaging.names import plain, some


def walk(top: Path, passed: list[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Every regular file below `top`, by its path from there with slashes, and its state.

    Folders that links lead to are entered too, after all others: a folder that was seen is not entered again, so that
    no picture comes twice and loops of links end. Folders that training runs made, and links to a folder above
    themselves, are passed over.

    Args:
        top: where to begin.
        passed: is given a sentence for each kind of thing that was passed over.

    Raises:
        OSError: when a folder cannot be read.
    """
    seen, runs, links, odd = set[object](), list[Path](), list[Path](), list[Path]()
    waiting = [top]
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        if (identity := _identity(folder)) in seen:
            continue
        seen.add(identity)
        below = []
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
        for entry in ordered:
            path = folder / entry.name
            if _is(entry.is_file):
                yield path.relative_to(top).as_posix(), entry.stat()
            elif not _is(entry.is_dir):
                odd.append(path)  # a pipe, a device, a link to nowhere
            elif is_run(path):
                runs.append(path)
            elif not entry.is_symlink():
                below.append(path)
            elif not folder.resolve().is_relative_to(path.resolve()):
                links.append(path)
        waiting += reversed(below)
    for found, what in ((runs, "folders of training runs"), (odd, "what is no regular file or leads nowhere")):
        if found:
            passed.append(f"passed over, {what}: {some(plain(str(path.relative_to(top))) for path in found)}")


def is_run(folder: Path) -> bool:
    """Whether training made the folder: its sheets of samples are PNGs, but no pictures to learn from."""
    return (folder / "config.json").is_file() and any((folder / n).is_file() for n in ("log.txt", "stats.jsonl"))


def _identity(folder: Path) -> object:
    """What is the same for all names of a folder. Some file systems give no number."""
    state = folder.stat()
    return (state.st_dev, state.st_ino) if state.st_ino else folder.resolve()


def _is(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # links that lead to themselves
        return False
