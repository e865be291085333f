"""Drawn textures and scenes: the same at every time, all different, and textures that are told apart by their looks."""

import numpy as np
import pytest

from imaging import textures
from imaging.dataset import CropConfig, DataConfig, open_dataset
from imaging.drawnset import KINDS, DrawnSet


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_picture_is_a_function_of_its_number(kind):
    first, second = (DrawnSet(kind, 24, 32, count=6) for _ in range(2))
    assert all((first.read(i) == second.read(i)).all() for i in (3, 0, 3))
    assert first.read(0).shape == (3, 24, 32) and first.read(0).dtype == np.uint8
    assert len({first.read(i).tobytes() for i in range(6)} | {first.held_out(0).tobytes()}) == 7


def test_a_picture_drawn_is_changed_by_nobody():
    dataset = DrawnSet("textures", 16, 16, count=2)
    kept = dataset.read(1).copy()
    dataset.read(1)[:] = 0
    assert (dataset.read(1) == kept).all()


@pytest.mark.parametrize("draw", dict.fromkeys(textures.KINDS), ids=lambda draw: draw.__name__)
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (40, 64)])
def test_every_kind_has_any_size_and_fills_it(draw, size):
    random = np.random.RandomState(0)
    drawn = [draw(random, *size, textures.palette(random)) for _ in range(4)]
    assert all(each.shape == (*size, 3) and np.isfinite(each).all() for each in drawn)
    assert size != (40, 64) or any(each.std((0, 1)).max() > 0.01 for each in drawn)


def test_noise_falls_with_the_frequency_as_its_slope_says():
    field = textures.noise(np.random.RandomState(0), 256, 256, 1.5)
    power = np.abs(np.fft.rfft2(field)) ** 2
    low, high = (power[k : 2 * k, k : 2 * k].mean() for k in (8, 32))
    assert np.log(low / high) / np.log(4) == pytest.approx(2 * 1.5, abs=0.2)


def test_sizes_follow_the_law_of_photographs():
    radii = textures.sizes(np.random.RandomState(0), 100_000, 1.0, 100.0)
    assert radii.min() >= 1 and radii.max() <= 100
    for r in (2, 5, 10):  # the density r^-3 leaves r^-2 above r
        assert (radii > r).mean() == pytest.approx(r**-2, rel=0.1)


def test_sets_are_named_in_place_of_a_path():
    assert open_dataset(DataConfig(path="textures:32x24")).size == (24, 32)
    found = open_dataset(CropConfig(path="scenes", crop=40, max_images=7))
    assert found.size == (40, 40) and len(found) == 7
    with pytest.raises(ValueError, match="the scenes set has no sub-folders"):
        open_dataset(DataConfig(path="scenes", labels="folders"))
