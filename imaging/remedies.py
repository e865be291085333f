"""Commands that repair a set, as messages print them: they can be pasted into a shell in the working folder."""

import glob
import os
import re
import shlex
from collections import Counter
from pathlib import Path

from imaging.sizes import advise
from system.urls import public

TOOL = Path(__file__).resolve().parents[1] / "dataset_tool.py"
LONGEST_NAME = 100  # letters of a source's name that go into the name of the new set
MOST_LOOKED_AT = 1000  # names tried to find one that is free


def one_size(source: str, sizes: Counter[tuple[int, int]], ending: str = ".zip", labels: str = "auto") -> str:
    """The command that makes a set of one size, as the end of a sentence.

    Args:
        source: the set, as the user named it.
        sizes: (height, width) -> images.
        ending: of the new set's name: `.zip`, or `-%06d.tar` for shards.
        labels: the value of --labels for the source.
    """
    advice = advise(sizes)
    return f"make them one size with `{conversion(source, str(advice), ending, labels, sized=True)}` {advice.note}"


def conversion(source: str, mark: str, ending: str = ".zip", labels: str = "auto", sized: bool = False) -> str:
    """The command that converts `source` to a new set in the working folder, with `mark` in its name.

    If `sized`, the images get the size that `mark` is.
    """
    words = ["python", _tool(), "--source", public(source), "--dest", str(_dest(source, mark, ending))]
    words += ["--labels", labels] if labels not in ("auto", "none") else []
    words += ["--resolution", mark] if sized else []
    return " ".join(map(quoted, words))


def quoted(word: str) -> str:
    """A word as a shell reads it; as `$'...'` if it has unprintable letters."""
    if word.isprintable():
        return shlex.quote(word)
    letters = (chr(b) if 32 <= b < 127 and b not in b"\\'" else f"\\x{b:02x}" for b in os.fsencode(word))
    return f"$'{''.join(letters)}'"


def _tool() -> str:
    """The shorter path of dataset_tool.py: absolute, or from the working folder."""
    return min(os.path.relpath(TOOL), str(TOOL), key=len)


def _dest(source: str, mark: str, ending: str) -> Path:
    """A free name in the working folder; beside the source if the working folder is in the source."""
    path, folder = Path(source), Path()
    name = re.sub(r"(\.tar)?\.\w+$", "", path.name)
    if path.is_dir():
        name = path.resolve().name
        if Path.cwd().resolve().is_relative_to(path.resolve()):
            folder = Path(os.path.relpath(path.resolve().parent))
    elif not path.exists():
        name = re.sub(r"[-_.]?\d*$", "", re.split(r"[*\[{%?]", name)[0])  # the common beginning of shards' names
    stem = "".join(letter if letter.isprintable() else "-" for letter in name)
    if ending != ".zip":
        stem = re.sub(r"[%{}*?\[\]]", "-", stem)  # these would mean several shards
    start = f"{stem[:LONGEST_NAME] or 'images'}-{mark}"
    starts = [start, *(f"{start}-{number}" for number in range(2, MOST_LOOKED_AT))]
    free = (each for each in starts if not any(folder.glob(f"{glob.escape(each)}*")))
    return folder / f"{next(free, start)}{ending}"
