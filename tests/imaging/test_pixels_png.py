import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from imaging.pixels import LARGEST_BLOCK, encode_png
from tests.imaging.pictures import picture

RECORDED = "38a8ed9c7f7139b321f54afff524131fe976953b26fd6b7535245d88207d94f9"


def chunks(data):
    """Kind and content of each; checks every CRC."""
    place, found = 8, []
    while place < len(data):
        (length,), kind = struct.unpack_from(">I", data, place), data[place + 4 : place + 8]
        content = data[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", data, place + 8 + length) == (zlib.crc32(kind + content),)
        found.append((kind, content))
        place += 12 + length
    return found


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (5, 3), (257, 255)])
def test_any_program_reads_what_is_written(mode, width, height):
    """Sizes with less than a block of the zlib stream and with more; 257 x 255 gray pixels fill 65535 + 255 bytes."""
    image = picture(width, height, mode)
    with Image.open(io.BytesIO(encode_png(image))) as read:
        assert read.format == "PNG" and read.mode == mode
        assert np.array_equal(np.asarray(read), np.asarray(image))


def test_blocks_of_the_largest_size_end_where_the_data_end():
    image = picture(1284, 51, "L")  # 1285 x 51 bytes with the filters: exactly one block
    assert LARGEST_BLOCK == 1285 * 51
    (_, data), *_ = [c for c in chunks(encode_png(image)) if c[0] == b"IDAT"]
    assert len(data) == 2 + 5 + LARGEST_BLOCK + 4 and data[2] == 1  # one block, which says that it is the last
    assert len(zlib.decompress(data)) == LARGEST_BLOCK


def test_lines_are_neither_filtered_nor_compressed():
    image = picture(20, 10)
    found = chunks(encode_png(image))
    assert [kind for kind, _ in found] == [b"IHDR", b"IDAT", b"IEND"]
    lines = np.frombuffer(zlib.decompress(found[1][1]), dtype=np.uint8).reshape(10, 61)
    assert not lines[:, 0].any() and np.array_equal(lines[:, 1:].reshape(10, 20, 3), np.asarray(image))
    assert len(encode_png(image)) < 10 * 61 + 100


def test_the_bytes_are_the_same_for_ever():
    data = encode_png(picture(300, 100, "RGBA", seed=1))
    assert hashlib.sha256(data).hexdigest() == RECORDED


@pytest.mark.parametrize("mode", ["P", "1", "CMYK", "I;16"])
def test_refuses_other_modes(mode):
    with pytest.raises(ValueError, match=f"expected an image of mode L, RGB or RGBA, got mode {mode}"):
        encode_png(Image.new(mode, (4, 4)))
