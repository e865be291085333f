import io

import numpy as np
import pytest
from PIL import Image

from imaging.picture import decode, read_header
from imaging.transforms import (
    center_crop_resize,
    is_opaque,
    mode_of,
    to_mode,
    upright,
    upright_size,
)
from tests.imaging.pictures import encoded, picture


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("1", "L"),
        ("L", "L"),
        ("I", "L"),
        ("I;16", "L"),
        ("P", "RGB"),
        ("RGB", "RGB"),
        ("CMYK", "RGB"),
        ("YCbCr", "RGB"),
        ("LA", "RGBA"),
        ("RGBA", "RGBA"),
    ],
)
def test_every_mode_has_a_poorest_mode_that_holds_it(mode, expected):
    image = Image.new(mode, (3, 2))
    assert mode_of(image) == expected
    assert to_mode(image, expected).mode == expected


def test_palettes_may_be_transparent():
    image = picture().quantize(8)
    assert mode_of(image) == "RGB"
    image.info["transparency"] = 0
    assert mode_of(image) == "RGBA"


def test_palette_colors_survive():
    image = Image.new("P", (1, 1))
    image.putpalette([10, 20, 30])
    assert to_mode(image, "RGB").getpixel((0, 0)) == (10, 20, 30)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF"])
def test_camera_orientation(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = Image.new("L", (16, 8), 0)
    seen.paste(255, (0, 0, 8, 4))  # bright top left when upright
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how a camera so held stores it
    stored = seen.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else seen
    file = io.BytesIO(encoded(stored, kind, exif=exif, **({} if kind == "TIFF" else {"quality": 100})))
    assert read_header(file, "a")[:2] == (16, 8)
    image = decode(file, "a", "L")
    assert np.abs(np.asarray(image).astype(int) - np.asarray(seen)).max() < 8


def test_damaged_metadata_does_not_cost_the_picture(monkeypatch):
    def fail(self):
        raise SyntaxError("not a TIFF file")

    image = Image.open(io.BytesIO(encoded(picture(), "JPEG")))
    monkeypatch.setattr(type(image), "getexif", fail)
    assert upright(image) is image and upright_size(image) == (16, 16)


def test_opacity():
    assert is_opaque(Image.new("RGBA", (2, 2), (0, 0, 0, 255)))
    assert not is_opaque(picture(mode="RGBA"))


def test_a_picture_of_the_right_size_is_left_alone():
    image = picture(16, 8)
    assert center_crop_resize(image, 16, 8) is image


def test_the_crop_keeps_the_middle():
    stripes = np.zeros((8, 24, 3), dtype=np.uint8)
    stripes[:, 8:16] = 200
    assert (np.asarray(center_crop_resize(Image.fromarray(stripes), 8, 8)) == 200).all()
    assert (np.asarray(center_crop_resize(Image.fromarray(stripes.transpose(1, 0, 2).copy()), 8, 8)) == 200).all()


def test_a_crop_without_resize_moves_no_pixel():
    image = picture(20, 16)
    assert center_crop_resize(image, 16, 16).tobytes() == image.crop((2, 0, 18, 16)).tobytes()


def test_reducing_does_not_alias():
    checks = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = np.asarray(center_crop_resize(Image.fromarray(checks), 8, 8)).astype(int)
    assert abs(small[1:-1, 1:-1] - 127.5).max() < 2  # the finest pattern there is becomes flat gray


def test_hidden_colors_do_not_bleed():
    array = np.zeros((16, 16, 4), dtype=np.uint8)
    array[:, :8] = (255, 0, 0, 0)  # invisible red
    array[:, 8:] = (0, 0, 255, 255)
    small = np.asarray(center_crop_resize(Image.fromarray(array), 4, 4))
    visible = small[small[..., 3] > 0]
    assert (visible[:, 0] == 0).all()
