"""The files of a folder and its sub-folders, each folder once, however links lead to it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from imaging.names import plain, some


def walk(top: Path, passed: list[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Yield every regular file below `top`: its path from there with slashes, and its state.

    Links to folders are followed after all other folders. No folder is entered twice, so that no image comes twice and
    loops of links end. Folders of training runs, and links to a folder above themselves, are skipped. `passed` gets a
    sentence for each kind of thing that was skipped. OSError if a folder cannot be read.
    """
    seen, runs, links, odd = set[object](), list[Path](), list[Path](), list[Path]()
    waiting = [top]
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        state = folder.stat()
        identity = (state.st_dev, state.st_ino) if state.st_ino else folder.resolve()  # some disks give no number
        if identity in seen:
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
    for found, what in ((runs, "folders of training runs"), (odd, "pipes, devices and broken links")):
        if found:
            passed.append(f"skipped {what}: {some(plain(str(path.relative_to(top))) for path in found)}")


def is_run(folder: Path) -> bool:
    """Whether a training run made the folder: its PNGs are sheets of samples, not images to learn from."""
    return (folder / "config.json").is_file() and any((folder / n).is_file() for n in ("log.txt", "stats.jsonl"))


def _is(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # a link that leads to itself
        return False
