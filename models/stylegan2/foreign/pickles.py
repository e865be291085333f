"""Reads pickles without running anything that they ask for."""

import re

LEGACY_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the first of the pickles in a torch.save file of old
_TEXT = re.compile(rb"\(*(c[A-Za-z_][\w.]*\n[A-Za-z_]|[dl]p?\d*[\n(]|[}\]]q)")  # protocols 0 and 1


def is_pickle(head: bytes) -> bool:
    """Whether a file that begins so is one pickle. A file of `torch.save` is an archive, or several pickles."""
    if is_legacy_torch(head):
        return False
    return (head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")) or bool(_TEXT.match(head))


def is_legacy_torch(head: bytes) -> bool:
    """Whether a file that begins so was written by `torch.save` before PyTorch 1.6."""
    return head.startswith(LEGACY_TORCH)
