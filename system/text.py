"""Makes text from files and servers fit for a terminal, a log or a page, and shows URLs without secrets."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LONGEST = 400  # characters of a quoted text
LARGEST_SIDE = 65_536  # pixels
INSTALLED = __package__ != "system"  # as a part of image_workshop, not in a checkout
CUT = "..."  # replaces credentials, queries and fragments
DIGEST = "#sha256="  # URL#sha256=... pins the content

# A scheme of two letters or more may have a single slash: `Path` merges the two of `https://`.
_URL = re.compile(
    r"([a-z][a-z0-9+.-]*://|[a-z][a-z0-9+.-]+:/)((?:(?!,[a-z][a-z0-9+.-]*://).)*)", re.IGNORECASE | re.DOTALL
)
_WORD = re.compile(r"(\S*:/\S*?)([)\]}'\",.;:!?]*)(?=\s|$)")  # and the punctuation after it
_PORT = re.compile(r"(\[[^\]]*\]|[^:]*)(:\d*)?")

# Control characters except tabs and line ends, other line ends, marks that change the direction of writing, and halves
# of surrogate pairs, which represent bytes of file names that are not UTF-8.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def harmless(text: str) -> str:
    r"""Escape the characters of `_HARMFUL`: ESC becomes `\x1b`. Tabs and line ends stay."""
    return _HARMFUL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable(text: object, most: int = LONGEST) -> str:
    """Return one printable line of at most `most` characters (4 or more). A longer text is cut and ends in `...`.

    Other characters become `?`. Other values become the name of their type: formatting them may take forever.
    """
    if not isinstance(text, str):
        return f"a value of type {type(text).__name__}"
    line = "".join(letter if letter.isprintable() else "?" for letter in text[: most + 1])
    return line if len(line) <= most else f"{line[: most - 3]}..."


def shown(value: object) -> str:
    """Describe a value of a foreign file briefly: texts are quoted and cut, numbers and short lists written out.

    Other values become the name of their type: formatting foreign nests may take forever.
    """
    if isinstance(value, str):
        return repr(value[:60])
    parts = value if type(value) in (list, tuple) and len(value) <= 6 else [value]  # type: ignore[arg-type]
    if all(_is_short_number(part) for part in parts):  # type: ignore[attr-defined]
        return repr(value)
    return "a very large number" if isinstance(value, int) else f"a {type(value).__name__}"


def without_separators(text: str) -> str:
    """Remove the thousands separators of a number: `5,000` and `5_000` -> `5000`. Other texts stay."""
    grouped = re.fullmatch(r"\s*([+-]?[0-9]{1,3}(?:([,_' ])[0-9]{3})(?:\2[0-9]{3})*(?:\.[0-9]*)?)\s*", text)
    return grouped[1].replace(grouped[2], "") if grouped else text


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) of `WIDTHxHEIGHT`, or of one number for a square. Raises ValueError for anything else."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})(?:[xX]([1-9][0-9]{0,4}))?", text.strip())
    if found is None or max(sides := (int(found[2] or found[1]), int(found[1]))) > LARGEST_SIDE:
        raise ValueError(f"'{text[:60]}' is not a size: write WIDTHxHEIGHT such as 96x64, or one number for a square")
    return sides


def _is_short_number(value: object) -> bool:
    return value is None or isinstance(value, bool | float) or (isinstance(value, int) and value.bit_length() <= 64)


def is_url(text: str) -> bool:
    """Whether a text begins with `https://` or `http://`, in any case."""
    return text[:8].lower().startswith(("https://", "http://"))


def pinned(text: str) -> tuple[str, str]:
    """Split `URL#sha256=DIGEST` into the URL and the digest; the digest of other URLs is "".

    Raises ValueError if the digest does not have 64 hexadecimal digits.
    """
    url, mark, digest = text.partition(DIGEST)
    if mark and not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise ValueError(f"{public(text)}: {DIGEST} must be followed by the 64 hexadecimal digits of a SHA-256")
    return url, digest.lower()


def public(text: str) -> str:
    """Replace the secrets of URLs in a path, URL, command-line argument or list of these by `...`.

    These are user names and passwords, queries, which often grant access, and fragments other than `#sha256=`.
    """
    return _URL.sub(_public, text) if ":/" in text else text


def without_secrets(text: str) -> str:
    """Apply `public` to every URL in running text."""
    return _WORD.sub(lambda found: f"{public(found[1])}{found[2]}", text) if ":/" in text else text


def is_cut(text: str) -> bool:
    """Whether `public` has removed a secret of a URL in this text."""
    return ":/" in text and any(f"{mark}{CUT}" in text for mark in (":/", "://", "?", "#"))


def program(script: str) -> list[str]:
    """The words that start a script such as `train.py`; its subcommand where the package is installed."""
    return ["image-workshop", Path(script).stem.replace("_", "-")] if INSTALLED else ["python", script]


def public_command(script: str, arguments: Sequence[str]) -> str:
    """Return the command `python SCRIPT ARGUMENTS...` for records and logs: quoted for a shell, without secrets."""
    return shlex.join([*program(script), *map(public, arguments)])


def public_values(values: Any) -> Any:
    """Apply `public` to every text in nested dicts, lists and tuples."""
    if isinstance(values, str):
        return public(values)
    if isinstance(values, dict):
        return {key: public_values(value) for key, value in values.items()}
    return [public_values(value) for value in values] if isinstance(values, list | tuple) else values


def _public(found: re.Match[str]) -> str:
    scheme, rest = found.groups()
    rest, mark, fragment = rest.partition("#")
    if mark:
        digest = fragment.startswith(DIGEST[1:]) and re.fullmatch(r"[0-9a-fA-F]*", fragment[len(DIGEST) - 1 :])
        mark += fragment if digest else CUT if fragment else ""
    rest, query, _ = rest.partition("?")
    authority, slash, path = rest.partition("/")
    if not scheme.lower().startswith("hf:"):  # whose @ is a revision
        if "@" not in authority and "@" in path and not _PORT.fullmatch(authority):
            authority, slash, path = rest, "", ""  # a password with a slash in it
        credentials, at, host = authority.rpartition("@")
        authority = f"{CUT}@{host}" if at and credentials else host
    return f"{scheme}{authority}{slash}{path}{query and '?' + CUT}{mark}"
