import numpy as np
import pytest
from PIL import Image

from training.sheet import SIDE, diversity

COLUMNS, ROWS, TILE = 8, 4, 2 * SIDE


def sheet(tiles: np.ndarray) -> Image.Image:
    """[rows, columns, H, W, 3] in 0 .. 1 -> one picture."""
    rows, columns, height, width, _ = tiles.shape
    pixels = (tiles * 255).round().astype(np.uint8).transpose(0, 2, 1, 3, 4)
    return Image.fromarray(pixels.reshape(rows * height, columns * width, 3))


def blocks(seed: int, spread: float = 1.0, different: int = ROWS * COLUMNS) -> np.ndarray:
    """Tiles of coarse noise about gray, so many of them different."""
    values = np.random.default_rng(seed).uniform(-0.5, 0.5, [different, 4, 4, 3]) * spread + 0.5
    values = values[np.arange(ROWS * COLUMNS) % different]
    return values.repeat(TILE // 4, axis=1).repeat(TILE // 4, axis=2).reshape(ROWS, COLUMNS, TILE, TILE, 3)


REALS = sheet(blocks(0))


def test_reals_are_as_diverse_as_reals():
    own = diversity(REALS, REALS, COLUMNS, [0, 1, 0, 1])
    assert set(own) == {
        "samples/diversity", "samples/nearest", "samples/diversity class 0", "samples/diversity class 1"
    }  # fmt: skip
    assert all(value == pytest.approx(1.0) for value in own.values())
    others = diversity(sheet(blocks(1)), REALS, COLUMNS, [0] * ROWS)
    assert others["samples/diversity"] == pytest.approx(1.0, abs=0.05)
    assert others["samples/nearest"] == pytest.approx(1.0, abs=0.1)


def test_distances_are_shares():
    """Half the contrast, half of every distance."""
    half = diversity(sheet(blocks(0, spread=0.5)), REALS, COLUMNS)
    assert half == pytest.approx({"samples/diversity": 0.5, "samples/nearest": 0.5}, abs=0.01)


def test_one_picture_has_no_diversity():
    same = diversity(sheet(blocks(0, different=1)), REALS, COLUMNS)
    assert same == pytest.approx({"samples/diversity": 0.0, "samples/nearest": 0.0}, abs=1e-3)


def test_a_few_pictures_are_told_by_the_nearest():
    few = diversity(sheet(blocks(0, different=8)), REALS, COLUMNS)
    assert few["samples/diversity"] > 0.8 and few["samples/nearest"] == pytest.approx(0.0, abs=1e-3)


def test_one_class_can_collapse_alone():
    tiles = blocks(2)
    tiles[1::2] = tiles[1, 0]
    found = diversity(sheet(tiles), REALS, COLUMNS, [0, 5, 0, 5])
    assert found["samples/diversity class 0"] > 0.9 and found["samples/diversity class 5"] < 1e-3
    assert found["samples/diversity"] > 0.5


def test_reals_that_come_twice_count_once():
    """A class of ten images fills its rows again and again; ten fakes are compared with them."""
    ten = sheet(blocks(0, different=10))
    assert diversity(ten, ten, COLUMNS) == pytest.approx({"samples/diversity": 1.0, "samples/nearest": 1.0})


def test_fine_grain_is_no_diversity():
    grain = np.random.default_rng(3).uniform(-0.3, 0.3, [ROWS, COLUMNS, TILE, TILE, 3])
    assert diversity(sheet(np.clip(0.5 + grain, 0, 1)), REALS, COLUMNS)["samples/diversity"] < 0.35


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_any_channels(mode):
    other = sheet(blocks(1)).convert(mode)
    assert diversity(other, REALS.convert(mode), COLUMNS)["samples/diversity"] == pytest.approx(1.0, abs=0.1)


def test_too_few_reals_say_nothing():
    seven = sheet(blocks(0, different=7))
    assert diversity(REALS, seven, COLUMNS, [0, 1, 0, 1]) == {}
