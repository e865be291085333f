"""What the tests of formats ask of a source."""

import subprocess
import sys

import numpy as np
import pytest

from imaging.sources.recognition import open_source
from imaging.sources.source import SequentialSource, picture
from tests.imaging.pictures import picture as noise

RGB = [noise(16, 12, seed=i) for i in range(6)]


def pixels(source, mode="RGB", indices=None):
    """All pictures as arrays, however the source is read."""
    wanted = range(len(source.names)) if indices is None else indices
    if isinstance(source, SequentialSource):
        contents = dict(source.stream(wanted))
    else:
        contents = {i: source.read(i) for i in wanted}
    assert list(contents) == list(wanted)
    return [np.asarray(picture(contents[i], "x", mode)) for i in wanted]


def equal(found, images):
    return len(found) == len(images) and all(
        np.array_equal(a, np.asarray(b)) for a, b in zip(found, images, strict=True)
    )


def failure(path, **more):
    with pytest.raises(ValueError) as error:
        open_source(path, **more)
    assert "\n" not in str(error.value)
    return str(error.value)


LIMIT = 1 << 30  # bytes of memory that opening may take beyond what is taken already


TAKE = """
import resource, sys
from pathlib import Path
from imaging.sources.recognition import open_source
from imaging.sources.source import SequentialSource
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + int(sys.argv[2]),) * 2)
try:
    source = open_source(sys.argv[1])
    source.labels()
    if not isinstance(source, SequentialSource):
        for i in range(len(source.names)):
            try:
                source.header_of(i)
                source.read(i)
            except ValueError as error:
                print("image:", error)
    print("opened", len(source.names))
except (ValueError, FileNotFoundError) as error:
    print("refused:", error)
"""


def taken_alone(path, limit=LIMIT):
    """What a process of its own, with little memory and time, says of a source."""
    command = [sys.executable, "-c", TAKE, str(path), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def zeros(file, count):
    for _ in range(count >> 20):
        file.write(bytes(1 << 20))
