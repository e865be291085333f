"""Text of strangers: names and values out of files and servers, made fit for a terminal, a log or a page."""

import re

LONGEST = 400  # letters that a message quotes

# Control characters but for tabs and line ends, other ends of lines, marks that turn the direction of writing, and
# halves of surrogate pairs, which stand for bytes of file names that are not UTF-8.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def harmless(text: str) -> str:
    r"""Return a text of any number of lines that a terminal and a log in UTF-8 can show.

    What could do harm there is spelled out, ESC as `\x1b`: control characters other than tabs and line ends, marks that
    turn the direction of writing, halves of surrogate pairs.
    """
    return _HARMFUL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable(text: object, most: int = LONGEST) -> str:
    """Return one line that any terminal can show.

    Control characters, line ends, marks that turn the direction of writing, and halves of surrogate pairs become `?`.
    A longer text is cut and ends in `...`.

    Args:
        text: a text. Anything else is shown as the name of its type, since spelling a foreign value may take forever.
        most: letters that are kept at most, 4 or more.
    """
    if not isinstance(text, str):
        return f"a value of type {type(text).__name__}"
    line = "".join(letter if letter.isprintable() else "?" for letter in text[: most + 1])
    return line if len(line) <= most else f"{line[: most - 3]}..."


def shown(value: object) -> str:
    """Spell a value out of a foreign file, shortly, whatever it is.

    Texts are quoted and cut, numbers are written out, as are lists of a few numbers; of anything else the type is
    named, since spelling what a stranger has nested may take forever.
    """
    if isinstance(value, str):
        return repr(value[:60])
    parts = value if type(value) in (list, tuple) and len(value) <= 6 else [value]  # type: ignore[arg-type]
    if all(_is_short_number(part) for part in parts):  # type: ignore[attr-defined]
        return repr(value)
    return "a very large number" if isinstance(value, int) else f"a {type(value).__name__}"


def _is_short_number(value: object) -> bool:
    return value is None or isinstance(value, bool | float) or (isinstance(value, int) and value.bit_length() <= 64)
