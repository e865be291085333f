import io

import numpy as np
import pytest
from PIL import Image

from imaging.gif import Palette, write_gif

GREYS = np.repeat(np.arange(0, 256, 51)[:, None], 3, axis=1)  # [6, 3]


@pytest.mark.parametrize("level", [0, 13, 25, 64, 100, 128, 203, 254, 255])
def test_four_colours_together_are_right_where_one_cannot_be(level):
    """The error of the mean of 8 x 8 pixels is a quarter of a step's half: what the last of four colours leaves."""
    shown = GREYS[Palette(GREYS).indices(np.full([8, 8, 3], level, np.uint8))]
    assert abs(shown.mean() - level) <= 51 / 2 / 4 + 1
    assert np.ptp(shown) <= 51  # none but the neighbours


def test_a_colour_of_the_palette_stands_for_itself():
    rng = np.random.default_rng(0)
    colours = np.unique(rng.integers(0, 64, [256, 3]), axis=0) * 4 + rng.integers(0, 4, 3)
    pixels = colours[rng.integers(len(colours), size=[20, 30])].astype(np.uint8)
    assert np.array_equal(colours[Palette(colours).indices(pixels)], pixels)


def test_a_pixel_depends_on_nothing_but_itself_and_its_place():
    rng = np.random.default_rng(0)
    palette = Palette(rng.integers(0, 256, [64, 3]))
    one, other = rng.integers(0, 256, [2, 16, 24, 3]).astype(np.uint8)
    mixed = np.where(rng.random([16, 24, 1]) < 0.5, one, other)
    expected = np.where((mixed == one).all(axis=-1), palette.indices(one), palette.indices(other))
    assert np.array_equal(palette.indices(mixed), expected)


def test_the_first_of_the_colours_is_the_nearest():
    """Where all four agree, far from a border between two colours: to a step of the table."""
    rng = np.random.default_rng(0)
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]])
    near = colours[rng.integers(4, size=[32, 32])]
    pixels = np.clip(near + rng.integers(-3, 4, [32, 32, 3]), 0, 255).astype(np.uint8)
    assert np.array_equal(colours[Palette(colours).indices(pixels)], near)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (7, 33), (64, 48)])
def test_every_frame_comes_back_as_it_was_written(tmp_path, mode, size):
    """Few colors, so that all are kept."""
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, [8, 3]).astype(np.uint8)
    frames = []
    for _ in range(5):
        pixels = colors[rng.integers(8, size=size[::-1])]
        if mode == "RGBA":
            pixels = np.concatenate([pixels, rng.integers(0, 2, [*size[::-1], 1]).astype(np.uint8) * 255], axis=2)
        frames.append(Image.fromarray(pixels))
    file = io.BytesIO()
    write_gif(file, frames, 30, tmp_path)
    with Image.open(file) as film:
        assert film.n_frames == 5 and film.info["loop"] == 0
        durations = []
        for number, frame in enumerate(frames):
            film.seek(number)
            durations.append(film.info["duration"])
            shown, wanted = np.asarray(film.convert(mode)), np.asarray(frame)
            if mode == "RGBA":
                assert np.array_equal(shown[..., 3], wanted[..., 3])
                shown, wanted = (pixels[..., :3] * (pixels[..., 3:] // 255) for pixels in (shown, wanted))
            assert np.abs(shown.astype(int) - wanted).max() <= 4, "but for the rounding of k-means"
        assert durations == [30, 40, 30, 30, 40]
