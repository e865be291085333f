import numpy as np
import pytest
import torch
from PIL import Image

from imaging.pixels import from_pil, to_images, to_pil, to_pixels
from tests.imaging.pictures import picture

ALL = torch.arange(256, dtype=torch.uint8)


def test_images_span_minus_one_to_one():
    images = to_images(ALL)
    assert images.dtype == torch.float32
    assert images[0] == -1 and images[255] == 1
    assert torch.equal(images, torch.arange(256, dtype=torch.float32) / 127.5 - 1)


def test_nearest_undoes_to_images_exactly():
    assert torch.equal(to_pixels(to_images(ALL), "nearest"), ALL)


def test_truncate_is_the_rule_of_published_seeds():
    x = torch.linspace(-1.2, 1.2, 10001)
    expected = np.clip((x.numpy() * np.float32(127.5) + np.float32(128)), 0, 255).astype(np.uint8)
    assert np.array_equal(to_pixels(x).numpy(), expected)
    assert to_pixels(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [0, 128, 255]


def test_out_of_range_is_clamped_by_both_rules():
    wild = torch.tensor([-9.0, 9.0])
    assert to_pixels(wild).tolist() == to_pixels(wild, "nearest").tolist() == [0, 255]


def test_half_precision_images_are_rounded_as_floats():
    images = to_images(ALL).to(torch.bfloat16)
    assert torch.equal(to_pixels(images, "nearest"), to_pixels(images.float(), "nearest"))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pictures_go_to_pixels_and_back(mode):
    image = picture(5, 3, mode)
    pixels = from_pil(image)
    assert pixels.shape == (len(mode) if mode != "L" else 1, 3, 5)
    back = to_pil(torch.from_numpy(pixels))
    assert back.mode == mode and back.tobytes() == image.tobytes()


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match=r"expected uint8 pixels \[C, H, W\] with 1, 3 or 4 channels"):
        to_pil(torch.zeros(2, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match="got mode CMYK"):
        from_pil(Image.new("CMYK", (4, 4)))
