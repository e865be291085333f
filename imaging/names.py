"""The names of files in folders, ZIPs and tars, spelled one way, whichever program wrote them."""

import re
import unicodedata
from collections.abc import Iterable

from system.text import printable


def plain(raw: str) -> str:
    """The name that labels, classes and messages use.

    Backslashes become slashes; drive letters, leading slashes, `.` and `..` are dropped; accented letters get the
    composed Unicode form (NFC); unprintable letters become `%1B`, so that different names stay different.
    """
    parts: list[str] = []
    for part in re.sub(r"^[A-Za-z]:(?=/)", "", raw.replace("\\", "/")).split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    name = unicodedata.normalize("NFC", "/".join(parts))
    return name if name.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in name)


def in_utf8(name: str) -> str:
    """A name from a ZIP without the UTF-8 flag, which many programs omit: decoded as UTF-8 if possible."""
    try:
        return name if name.isascii() else name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def by_any_case(name: str) -> str:
    """The name with its ending in lower case: `a.PNG` and `a.png` are treated as equal."""
    stem, dot, ending = name.rpartition(".")
    return f"{stem}{dot}{ending.lower()}"


def is_hidden(name: str) -> bool:
    """Whether a file is hidden: `.DS_Store`, `__MACOSX/._a.png` and the like."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def some(names: Iterable[object]) -> str:
    """The first of some names, and how many more there are."""
    first, *others = names
    return printable(str(first)) + (f" and {len(others)} more" if others else "")


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"%{code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code:02X}"  # Python keeps bytes of no UTF-8 there
