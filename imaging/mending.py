"""Commands that mend a set, as messages print them: they can be run as they stand, in the working folder."""

import os
import re
import shlex
from collections import Counter
from pathlib import Path

from imaging.shards.layout import Layout, is_shard_dest
from imaging.shards.pattern import is_pattern, prefix
from imaging.sizes import advise
from system.urls import public

TOOL = Path(__file__).resolve().parents[1] / "dataset_tool.py"
LONGEST_NAME = 100  # letters of a source's name that go into that of the new set


def one_size(source: str, sizes: Counter[tuple[int, int]], ending: str = ".zip", labels: str = "auto") -> str:
    """What makes a set of one size that a network can have, as the end of a sentence.

    Args:
        source: the set, as the user named it.
        sizes: (height, width) -> images.
        ending: of the new set's name: `.zip`, or `-%06d.tar` for shards.
        labels: what --labels says of the source.
    """
    advice = advise(sizes)
    note = f" {advice.note}" if len(sizes) > 1 else ""
    return f"make them one size with `{conversion(source, str(advice), ending, labels, sized=True)}`{note}"


def conversion(source: str, mark: str, ending: str = ".zip", labels: str = "auto", sized: bool = False) -> str:
    """The command that makes another set of `source` in the working folder, with `mark` in its name.

    `sized` makes the images of the size that `mark` is.
    """
    words = ["python", _tool(), "--source", public(source), "--dest", _dest(source, mark, ending)]
    words += ["--labels", labels] if labels == "folders" else []
    words += ["--resolution", mark] if sized else []
    return " ".join(map(quoted, words))


def quoted(word: str) -> str:
    """A word as a shell reads it, whatever bytes it has: `$'...'` where quotation marks alone do not show them."""
    if word.isprintable():
        return shlex.quote(word)
    letters = (chr(b) if 32 <= b < 127 and b not in b"\\'" else f"\\x{b:02x}" for b in os.fsencode(word))
    return f"$'{''.join(letters)}'"


def _tool() -> str:
    """The path of dataset_tool.py as it is typed in the working folder, the shorter way."""
    return min(os.path.relpath(TOOL), str(TOOL), key=len)


def _dest(source: str, mark: str, ending: str) -> str:
    """A place in the working folder that is free; beside the source where the working folder lies in it."""
    path = Path(source)
    if is_pattern(source) or not path.exists():
        stem, folder = prefix(source).rpartition("/")[2], Path()
    else:
        path = path.resolve()
        stem = path.name if path.is_dir() else re.sub(r"(\.tar)?\.\w+$", "", path.name)
        within = path.is_dir() and Path.cwd().resolve().is_relative_to(path)
        folder = Path(os.path.relpath(path.parent)) if within else Path()
    stem = "".join(letter if letter.isprintable() else "-" for letter in stem)
    if ending != ".zip":
        stem = re.sub(r"[%{}*?\[\]]", "-", stem)  # which would mean several shards
    stem = stem[:LONGEST_NAME] or "images"
    for number in range(1, 1000):
        again = f"-{number}" if number > 1 else ""
        dest = folder / f"{stem}-{mark}{again}{ending}"
        if _is_free(dest):
            break
    return str(dest)


def _is_free(dest: Path) -> bool:
    try:
        if is_shard_dest(str(dest)):
            Layout(dest).check_vacant()
    except ValueError:
        return False
    return not dest.exists()
