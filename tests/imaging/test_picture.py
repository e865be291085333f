import io

import numpy as np
import pytest
from PIL import Image

from imaging.picture import Header, decode, read_header
from tests.imaging.pictures import encoded, picture, png_header


def failure(function, *arguments):
    with pytest.raises(ValueError) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_headers_tell_size_and_mode():
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"):
        assert read_header(io.BytesIO(encoded(picture(20, 10), kind)), "a") == Header(20, 10, "RGB")
    assert read_header(io.BytesIO(encoded(picture(mode="RGBA"))), "a").mode == "RGBA"
    assert read_header(io.BytesIO(encoded(picture(mode="L"))), "a").mode == "L"


def test_decoding():
    image = decode(io.BytesIO(encoded(picture())), "a", "RGB")
    assert image.tobytes() == picture().tobytes()
    assert decode(io.BytesIO(encoded(picture())), "a", "RGBA").mode == "RGBA"


def test_bombs_are_refused_by_their_header():
    expected = (
        "bomb.png has 30000x30000 = 900 megapixels, more than the 500 megapixels that are accepted: make it smaller"
    )
    assert failure(read_header, io.BytesIO(png_header(30000, 30000)), "bomb.png") == expected
    assert failure(decode, io.BytesIO(png_header(30000, 30000)), "bomb.png", "RGB") == expected
    assert (
        failure(read_header, io.BytesIO(png_header(60000, 60000)), "bomb.png")
        == "bomb.png has far more than the 500 megapixels that are accepted: make it smaller"
    )


def test_what_is_no_picture_is_named():
    assert failure(read_header, io.BytesIO(b"hello"), "a.png") == (
        "a.png cannot be decoded: not an image of a known format"
    )
    assert failure(read_header, io.BytesIO(b""), "a.png").startswith("a.png cannot be decoded: ")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"
    assert "not an image of a known format" in failure(read_header, io.BytesIO(eps), "a.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_damage_of_any_kind_is_one_sentence_or_a_picture(kind):
    """Whatever bytes change, the outcome is an image or a ValueError that names the file."""
    whole = encoded(picture(32, 32), kind)
    random = np.random.RandomState(0)
    for _ in range(60):
        data = bytearray(whole)
        for place in random.randint(0, len(data), random.randint(1, 6)):
            data[place] = random.randint(256)
        if random.rand() < 0.3:
            data = data[: random.randint(len(data))]
        for attempt in (read_header, lambda file, name: decode(file, name, "RGB")):
            try:
                attempt(io.BytesIO(bytes(data)), "a")
            except ValueError as error:
                assert str(error).startswith("a ") and "\n" not in str(error)


def test_a_photograph_larger_than_any_result_is_made_smaller():
    """60 megapixels, as the largest cameras make more: read at a half or a quarter, never below what is wanted."""
    data = encoded(Image.new("RGB", (9504, 6336), (200, 30, 60)), "JPEG")
    assert read_header(io.BytesIO(data), "a") == Header(9504, 6336, "RGB")
    for enough, size in [((64, 64), (1188, 792)), ((900, 900), (2376, 1584)), ((4000, 100), (9504, 6336))]:
        image = decode(io.BytesIO(data), "a", "RGB", enough)
        assert image.size == size and np.abs(np.asarray(image)[0, 0].astype(int) - (200, 30, 60)).max() < 4
    exif = Image.Exif()
    exif[0x0112] = 6  # turned: (height, width) are those of the file's (width, height)
    turned = encoded(Image.new("RGB", (9504, 6336)), "JPEG", exif=exif)
    assert decode(io.BytesIO(turned), "a", "RGB", (4000, 2000)).size == (3168, 4752)


def test_smaller_photographs_are_read_whole():
    data = encoded(Image.new("RGB", (4000, 3000)), "JPEG")
    assert decode(io.BytesIO(data), "a", "RGB", (16, 16)).size == (4000, 3000)
