import io

import numpy as np
import pytest

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
        "a.png cannot be decoded: it is not a picture of a known format"
    )
    assert failure(read_header, io.BytesIO(b""), "a.png").startswith("a.png cannot be decoded: ")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"
    assert "not a picture of a known format" in failure(read_header, io.BytesIO(eps), "a.png")


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
