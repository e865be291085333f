"""What a file is that was taken for another: a web page, a Git LFS pointer, nothing at all."""

import re
from pathlib import Path

_HEAD = 1024  # bytes that tell
_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
_POINTER = b"version https://git-lfs.github.com/spec/"


def mistaken(path: Path) -> str:
    """Say what a file is if it is none of the files that programs exchange: "a web page", ...; "" for any other.

    An empty file, a web page (an error or a login instead of a download), a pointer of Git LFS (a checkout without
    the files themselves), or a server's message in JSON.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head.strip():
        return "an empty file"
    if _PAGE.match(head):
        return "a web page"
    if head.startswith(_POINTER):
        return "a pointer of Git LFS, not the file itself (git lfs pull fetches it)"
    if re.match(rb'\s*(?:\{\s*"(?:error|message|detail|errors)"\s*:|<\?xml[^>]*>\s*<error\b)', head, re.I):
        return "an error message of a server"
    return ""
