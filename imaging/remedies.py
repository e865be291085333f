"""Commands that repair a set, as messages print them: they can be pasted into a shell in the working folder."""

import os
import re
import shlex
from collections import Counter
from pathlib import Path

from imaging.sizes import advise
from system.text import printable, public

TOOL = Path(__file__).resolve().parents[1] / "dataset_tool.py"


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

    If the source holds the working folder, the new set is written beside the source. If `sized`, the images get the
    size that `mark` is.
    """
    path, folder = Path(source), Path()
    name = re.sub(r"(\.tar)?\.\w+$", "", re.sub(r"[-_.]?\d*[*\[{%?].*", "", path.name))
    if path.is_dir():
        name = path.resolve().name
        if Path.cwd().resolve().is_relative_to(path.resolve()):
            folder = Path(os.path.relpath(path.resolve().parent))
    stem = re.sub(r"[^\w .-]", "-", name)
    tool = min(os.path.relpath(TOOL), str(TOOL), key=len)
    words = ["python", tool, "--source", public(source), "--dest", str(folder / f"{stem or 'images'}-{mark}{ending}")]
    words += ["--labels", labels] if labels not in ("auto", "none") else []
    words += ["--resolution", mark] if sized else []
    return " ".join(shlex.quote(printable(word, len(word))) for word in words)
