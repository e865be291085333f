"""Pillow's switches are changed only while a picture is read."""

import threading
import warnings

from PIL import Image

from imaging.quiet import pillow


def test_the_last_to_leave_restores_what_the_first_has_found():
    before, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    inside, leave = threading.Barrier(9), threading.Event()

    def look():
        with pillow(10**9):
            inside.wait()
            leave.wait()

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    inside.wait()
    with pillow(10**9):
        assert Image.MAX_IMAGE_PIXELS == 10**9 and list(warnings.filters) != filters
    assert Image.MAX_IMAGE_PIXELS == 10**9
    leave.set()
    for thread in threads:
        thread.join()
    assert before == Image.MAX_IMAGE_PIXELS and list(warnings.filters) == filters
