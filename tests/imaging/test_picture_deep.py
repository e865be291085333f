"""Pictures of more than 8 bits: the range that they use becomes black to white, and is said."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from imaging.conversion import convert
from imaging.dataset import DataConfig, open_dataset
from imaging.picture import Span, decode, read_header, span_of
from models.stylegan2.config import GeneratorConfig
from sampling.stylegan2.targets import read_targets
from tests.imaging.pictures import encoded, write_folder


def values(top, shape=(16, 16), seed=0):
    found = np.random.RandomState(seed).randint(0, top + 1, shape)
    found.flat[0], found.flat[1] = 0, top
    return found


def gray(array):
    return encoded(Image.fromarray(array.astype(np.uint16)))


def tiff(array):
    return encoded(Image.fromarray(array), "TIFF")


def deep_png(array):
    """A PNG of 16 bits and 3 channels, which Pillow cannot write."""
    height, width, _ = array.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in array)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("ranges", "span"),
    [
        ([(0, 200)], Span(0, 255)),
        ([(0, 200), (0, 256)], Span(0, 1023)),
        ([(5, 4000)], Span(0, 4095)),
        ([(0, 16383)], Span(0, 16383)),
        ([(0, 65535)], Span(0, 65535)),
        ([(0, 1)], Span(0, 255)),
        ([(0, 0.7)], Span(0, 1)),
        ([(-3, 4)], Span(-3, 4)),
        ([(-100, -100)], Span(-100, -99)),
        ([(0, 2**31)], Span(0, 2**31)),
    ],
)
def test_the_range_that_is_used(ranges, span):
    assert span_of(ranges) == span


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_gray_of_any_depth_fills_8_bits(bits):
    top = 2**bits - 1
    array = values(top)
    image = decode(io.BytesIO(gray(array)), "a", "L")
    assert read_header(io.BytesIO(gray(array)), "a").deep
    assert np.array_equal(np.asarray(image), ((array * 255 + top // 2) // top).astype(np.uint8))


@pytest.mark.parametrize(
    ("array", "black", "white"),
    [
        (values(255).astype(np.int32) - 128, -128, 127),
        (values(2**20).astype(np.int32), 0, 2**20),
        (values(1000).astype(np.float32) / 1001, 0, 1),
        (values(1000).astype(np.float32) - 300, -300, 700),
        (values(255).astype(np.int16), 0, 255),
        (values(255).astype(np.int16) - 100, -100, 155),
    ],
)
def test_signed_long_and_floating_numbers(array, black, white):
    data = tiff(array) if array.dtype != np.int16 else signed_tiff(array)
    image = np.asarray(decode(io.BytesIO(data), "a", "L")).astype(float)
    assert np.abs(image - (array.astype(float) - black) / (white - black) * 255).max() <= 0.51


def signed_tiff(array):
    """16-bit signed gray, which Pillow reads and does not write."""
    entries = [(256, 4, 16), (257, 4, 16), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 200), (277, 3, 1)]
    entries += [(278, 4, 16), (279, 4, 512), (339, 3, 2)]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    data = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + body + bytes(4)
    return data.ljust(200, b"\0") + array.astype("<i2").tobytes()


def test_numbers_that_are_none_are_black():
    array = values(100).astype(np.float32)
    array[3, 3], array[4, 4] = np.nan, np.inf
    image = np.asarray(decode(io.BytesIO(tiff(array)), "a", "L"))
    assert image[3, 3] == 0 and image[4, 4] == 255 and (image[array == 100] == 100).all()


def test_colors_of_16_bits_are_read_by_their_high_bytes():
    array = values(65535, (8, 8, 3))
    image = np.asarray(decode(io.BytesIO(deep_png(array)), "a", "RGB"))
    assert np.array_equal(image, (array >> 8).astype(np.uint8))


SAID = "images of more than 8 bits use values from 0 to {}: these are read as black and white"


def test_a_set_has_one_range_in_conversions(tmp_path):
    arrays = [values(100), values(3000, seed=1), values(255, seed=2)]
    source = write_folder(tmp_path / "in", {f"{i}.png": gray(array) for i, array in enumerate(arrays)})
    report = convert(source, tmp_path / "out.zip", workers=1)
    assert report.notes == (SAID.format(4095),)
    dataset = open_dataset(DataConfig(path=str(tmp_path / "out.zip")))
    for i, array in enumerate(arrays):
        assert np.array_equal(dataset[i][0][0], ((array * 255 + 2047) // 4095).astype(np.uint8))


def test_a_set_has_one_range_in_training(tmp_path):
    arrays = [values(100), values(900, seed=1)]
    dataset = open_dataset(
        DataConfig(path=str(write_folder(tmp_path / "in", {f"{i}.png": gray(a) for i, a in enumerate(arrays)})))
    )
    assert dataset.notes == (SAID.format(1023),)
    for i, array in enumerate(arrays):
        assert np.array_equal(dataset[i][0][0], ((array * 255 + 511) // 1023).astype(np.uint8))


def test_full_16_bits_are_not_spoken_of(tmp_path):
    path = write_folder(tmp_path / "in", {"a.png": gray(values(65535))})
    assert open_dataset(DataConfig(path=str(path))).notes == ()


def test_targets_say_which_range_they_use(tmp_path):
    (tmp_path / "a.png").write_bytes(gray(values(255)))
    config = GeneratorConfig(height=16, width=16, channels=1)
    (target,) = read_targets([str(tmp_path / "a.png")], config)
    assert target.changes == ("its more than 8 bits use values from 0 to 255: these are read as black and white",)
    assert int(target.pixels.max()) == 255
