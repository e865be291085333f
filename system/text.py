"""Makes text from files and servers fit for a terminal, a log or a page."""

import re

LONGEST = 400  # characters of a quoted text
LARGEST_SIDE = 65_536  # pixels

# Control characters except tabs and line ends, other line ends, marks that change the direction of writing, and halves
# of surrogate pairs, which represent bytes of file names that are not UTF-8.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def harmless(text: str) -> str:
    r"""Escape control characters other than tabs and line ends (ESC becomes `\x1b`), marks that change the direction of
    writing, and halves of surrogate pairs.
    """
    return _HARMFUL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable(text: object, most: int = LONGEST) -> str:
    """Return one printable line of at most `most` characters (4 or more). A longer text is cut and ends in `...`.

    Characters that `harmless` escapes, and line ends, become `?`. Other values than texts become the name of their
    type: formatting a foreign value may take forever.
    """
    if not isinstance(text, str):
        return f"a value of type {type(text).__name__}"
    line = "".join(letter if letter.isprintable() else "?" for letter in text[: most + 1])
    return line if len(line) <= most else f"{line[: most - 3]}..."


def shown(value: object) -> str:
    """Describe a value of a foreign file briefly: texts are quoted and cut, numbers and short lists of them written out.

    Other values become the name of their type: formatting foreign nests may take forever.
    """
    if isinstance(value, str):
        return repr(value[:60])
    parts = value if type(value) in (list, tuple) and len(value) <= 6 else [value]  # type: ignore[arg-type]
    if all(_is_short_number(part) for part in parts):  # type: ignore[attr-defined]
        return repr(value)
    return "a very large number" if isinstance(value, int) else f"a {type(value).__name__}"


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) of `WIDTHxHEIGHT`, or of one number for a square. Raises ValueError for anything else."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})(?:[xX]([1-9][0-9]{0,4}))?", text.strip())
    if found is None or max(sides := (int(found[2] or found[1]), int(found[1]))) > LARGEST_SIDE:
        raise ValueError(f"'{text[:60]}' is not a size: write WIDTHxHEIGHT such as 96x64, or one number for a square")
    return sides


def _is_short_number(value: object) -> bool:
    return value is None or isinstance(value, bool | float) or (isinstance(value, int) and value.bit_length() <= 64)
