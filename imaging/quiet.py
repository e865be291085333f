"""Pillow with a larger limit and without its warnings, for as long as one of our pictures is read.

Both are switches of the whole process, which belong to the program that imports this package.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from PIL import Image

_lock, _within, _before = threading.Lock(), 0, ExitStack()


@contextmanager
def pillow(largest: int) -> Iterator[None]:
    """Within the block Pillow opens pictures of up to `largest` pixels and mends quietly what it can mend.

    Any number of threads may be in such a block. When the last leaves it, the switches are as before the first.
    """
    global _within
    with _lock:
        if _within == 0:
            _before.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            _before.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\.")
            Image.MAX_IMAGE_PIXELS = largest
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if _within == 0:
                _before.close()
