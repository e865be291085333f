import pytest

from imaging.sizes import parse_size
from models.stylegan2.config import base_size, fits

VALID = {
    (base_height * 2**n, base_width * 2**n)
    for base_height in range(3, 86)
    for base_width in range(3, 256 // base_height + 1)
    for n in range(1, 9)
}


@pytest.mark.parametrize(
    ("size", "expected"),
    [("1024x1024", (4, 4, 8)), ("512x384", (3, 4, 7)), ("96x96", (3, 3, 5)), ("16x16", (4, 4, 2)), ("6x6", (3, 3, 1))],
)
def test_known_sizes(size, expected):
    assert base_size(*parse_size(size)) == expected


def test_every_small_size_is_accepted_exactly_if_some_valid_base_doubles_to_it():
    for height in range(1, 50):
        for width in range(1, 50):
            assert (fits((height, width, 3, 0)) == "") == ((height, width) in VALID)
            if (height, width) in VALID:
                base_height, base_width, n = base_size(height, width)
                assert (base_height * 2**n, base_width * 2**n) == (height, width)
                halves = (base_height / 2, base_width / 2)
                assert any(side < 3 or side != int(side) for side in halves), "n is not the largest"


def test_the_message_spells_width_first_and_names_a_size_that_fits():
    assert fits((720, 1280)) == (
        "StyleGAN2 cannot have the size 1280x720: both sides must be small numbers (3x3 to 16x16, or as many pixels) "
        "doubled equally often, as 512x384 is 4x3 doubled; a size near it is 1024x576"
    )
    assert fits((576, 1024)) == "" and "50 are accepted: take a smaller size, such as 1024x1024" in fits((9999, 9999))
