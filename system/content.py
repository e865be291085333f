"""Recognizes files that are mistaken for others: web pages, Git LFS pointers, empty files."""

import re
from pathlib import Path

_HEAD = 1024  # bytes
_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
_POINTER = b"version https://git-lfs.github.com/spec/"


def mistaken(path: Path) -> str:
    """Return "a web page" (an error or a login instead of a download), "an empty file", ...; "" for any other file."""
    with path.open("rb") as file:
        return mistaken_content(file.read(_HEAD))


def mistaken_content(head: bytes) -> str:
    """Return the kind of a file that begins with `head`, as `mistaken` does."""
    if not head.strip():
        return "an empty file"
    if _PAGE.match(head):
        return "a web page"
    if head.startswith(_POINTER):
        return "a pointer of Git LFS, not the file itself (git lfs pull fetches it)"
    if re.match(rb'\s*(?:\{\s*"(?:error|message|detail|errors)"\s*:|<\?xml[^>]*>\s*<error\b)', head, re.I):
        return "an error message of a server"
    return ""
