"""URLs: recognized, pinned to a digest, and shown without secrets."""

import re
import shlex
from collections.abc import Sequence
from typing import Any

CUT = "..."  # replaces credentials, queries and fragments
DIGEST = "#sha256="  # URL#sha256=... pins the content

# A scheme of two letters or more may have a single slash: `Path` merges the two of `https://`.
_URL = re.compile(
    r"([a-z][a-z0-9+.-]*://|[a-z][a-z0-9+.-]+:/)((?:(?!,[a-z][a-z0-9+.-]*://).)*)", re.IGNORECASE | re.DOTALL
)
_WORD = re.compile(r"(\S*:/\S*?)([)\]}'\",.;:!?]*)(?=\s|$)")  # and the punctuation after it
_PORT = re.compile(r"(\[[^\]]*\]|[^:]*)(:\d*)?")


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

    Secrets are user names and passwords (`https://user:password@host`), queries (`?signature=...`), which often grant
    access, and fragments other than `#sha256=`.
    """
    return _URL.sub(_public, text) if ":/" in text else text


def without_secrets(text: str) -> str:
    """Apply `public` to every URL in running text."""
    return _WORD.sub(lambda found: f"{public(found[1])}{found[2]}", text) if ":/" in text else text


def is_cut(text: str) -> bool:
    """Whether `public` has removed a secret of a URL in this text."""
    return ":/" in text and any(f"{mark}{CUT}" in text for mark in (":/", "://", "?", "#"))


def public_command(script: str, arguments: Sequence[str]) -> str:
    """Return the command `python SCRIPT ARGUMENTS...` for records and logs: quoted for a shell, without secrets."""
    return shlex.join(["python", script, *map(public, arguments)])


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
