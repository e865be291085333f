import numpy as np
import pytest

from imaging.film import Palette

GRAYS = np.repeat(np.arange(0, 256, 51)[:, None], 3, axis=1)  # [6, 3]


@pytest.mark.parametrize("level", [0, 13, 25, 64, 100, 128, 203, 254, 255])
def test_four_colors_together_are_right_where_one_cannot_be(level):
    """The error of the mean of 8 x 8 pixels is a quarter of a step's half: what the last of four colors leaves."""
    shown = GRAYS[Palette(GRAYS).indices(np.full([8, 8, 3], level, np.uint8))]
    assert abs(shown.mean() - level) <= 51 / 2 / 4 + 1
    assert np.ptp(shown) <= 51  # none but the neighbors


def test_a_color_of_the_palette_stands_for_itself():
    rng = np.random.default_rng(0)
    colors = np.unique(rng.integers(0, 64, [256, 3]), axis=0) * 4 + rng.integers(0, 4, 3)
    pixels = colors[rng.integers(len(colors), size=[20, 30])].astype(np.uint8)
    assert np.array_equal(colors[Palette(colors).indices(pixels)], pixels)


def test_a_pixel_depends_on_nothing_but_itself_and_its_place():
    rng = np.random.default_rng(0)
    palette = Palette(rng.integers(0, 256, [64, 3]))
    one, other = rng.integers(0, 256, [2, 16, 24, 3]).astype(np.uint8)
    mixed = np.where(rng.random([16, 24, 1]) < 0.5, one, other)
    expected = np.where((mixed == one).all(axis=-1), palette.indices(one), palette.indices(other))
    assert np.array_equal(palette.indices(mixed), expected)
