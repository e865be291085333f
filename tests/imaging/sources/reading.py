"""What the tests of formats ask of a source."""

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
