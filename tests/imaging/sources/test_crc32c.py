import os

import pytest
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c as reference
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from imaging.sources.crc32c import crc32c, masked


def test_the_published_check_value():
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("size", [0, 1, 3, 4, 1023, 1024, 1025, 4096, 70_001, 262_143])
def test_any_length(size):
    data = os.urandom(size)
    assert crc32c(data) == reference(data) and masked(crc32c(data)) == masked_crc32c(data)
