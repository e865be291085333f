"""The names of files in folders, ZIPs and tars, spelled one way whatever program wrote them."""

import re
import unicodedata
from collections.abc import Iterable

from system.text import printable


def plain(raw: str) -> str:
    """The name that labels, classes and messages see.

    Backslashes become slashes; drive letters, leading slashes, `.` and `..` are dropped; letters with accents have the
    composed Unicode form (NFC); what no terminal can show becomes `%1B`, so that different names stay different.
    """
    parts: list[str] = []
    for part in re.sub(r"^[A-Za-z]:(?=/)", "", raw.replace("\\", "/")).split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    name = unicodedata.normalize("NFC", "/".join(parts))
    if name.isprintable():
        return name
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in name)


def in_utf8(name: str) -> str:
    """A name out of a ZIP without the mark for UTF-8, which many programs leave out: as UTF-8 where it is."""
    try:
        return name if name.isascii() else name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def by_any_case(name: str) -> str:
    """The name with its ending in small letters: `a.PNG` and `a.png` are taken for each other."""
    stem, dot, ending = name.rpartition(".")
    return f"{stem}{dot}{ending.lower()}"


def is_hidden(name: str) -> bool:
    """Whether a file is not meant to be seen: `.DS_Store`, `__MACOSX/._a.png` and the like."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def some(names: Iterable[object]) -> str:
    """The first of some names, and how many more there are."""
    first, *others = names
    return printable(str(first)) + (f" and {len(others)} more" if others else "")


def _escaped(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as Python keeps it
        code -= 0xDC00
    return f"%{code:02X}"
