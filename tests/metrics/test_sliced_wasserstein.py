import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch

from metrics import sliced_wasserstein as swd
from torch_utils import seeds


def _images(count=24, channels=3, height=32, width=32, seed=0):
    noise = torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(seed))
    return scipy_filter(noise, 1.0)


def scipy_filter(images, sigma):
    return torch.from_numpy(scipy.ndimage.gaussian_filter(images.numpy(), (0, 0, sigma, sigma)))


def _described(images, first=0):
    return swd.descriptors(images, range(first, first + len(images)))


def by_level(a, b):
    return [swd.level_distance(a[:, level], b[:, level]) for level in range(a.shape[1])]


def _reference_pyramid(image):
    """With scipy, one channel at a time."""
    taps = np.array([1, 4, 6, 4, 1]) / 16
    levels = []
    while min(image.shape) >= 32:
        smaller = scipy.ndimage.convolve(image, np.outer(taps, taps), mode="mirror")[::2, ::2]
        spread = np.zeros_like(image)
        spread[::2, ::2] = smaller
        levels.append(image - scipy.ndimage.convolve(spread, 4 * np.outer(taps, taps), mode="mirror"))
        image = smaller
    return [*levels, image]


def test_pyramid_agrees_with_scipy():
    image = _images(1, 2, 64, 96)
    for c in range(2):
        for level, expected in zip(swd.pyramid(image), _reference_pyramid(image[0, c].numpy()), strict=True):
            np.testing.assert_allclose(level[0, c], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("height", "width", "levels"),
    [(16, 16, 1), (32, 32, 2), (64, 64, 3), (96, 96, 3), (384, 512, 5), (12, 6, 1), (31, 64, 1)],
)
def test_levels_suit_the_size(height, width, levels):
    found = _described(torch.zeros(1, 3, height, width))
    assert found.shape == (1, levels, swd.PATCHES, 3, min(7, width), min(7, width))


def test_patches_are_pieces_of_the_image():
    image = torch.arange(16 * 16.0).view(1, 1, 16, 16)
    for patch in _described(image)[0, 0, :, 0].float():
        torch.testing.assert_close(patch - patch[0, 0], image[0, 0, :7, :7])


def test_agrees_with_scipy_direction_by_direction(monkeypatch):
    monkeypatch.setattr(swd, "DIRECTIONS", 5)
    a, b = _described(_images()), _described(1.5 * _images(seed=1) ** 3)
    expected = []
    for level in range(2):
        points = []
        for part in (a, b):
            x = part[:, level].float().numpy()
            x = (x - x.mean(axis=(0, 1, 3, 4), keepdims=True)) / x.std(axis=(0, 1, 3, 4), keepdims=True)
            points.append(x.reshape(-1, 3 * 49))
        directions = torch.randn(5, 147, generator=seeds.generator("cpu", "directions", 147)).numpy()
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        found = [scipy.stats.wasserstein_distance(*(p @ d for p in points)) for d in directions]
        expected.append(1000 * np.mean(found))
    assert by_level(a, b) == pytest.approx(expected, rel=1e-3)
    assert swd.sliced_wasserstein(a, b) == pytest.approx(np.mean(expected), rel=1e-3)


def test_equal_sets_are_no_distance_apart_in_any_order():
    found = _described(_images())
    assert swd.sliced_wasserstein(found, found.clone()) == 0
    assert swd.sliced_wasserstein(found, found.flip(0)) < 1e-3


def test_grows_with_what_is_wrong_and_tells_at_which_size(monkeypatch):
    monkeypatch.setattr(swd, "DIRECTIONS", 64)
    real, other = _images(100), _images(100, seed=1)
    floor = swd.sliced_wasserstein(_described(real), _described(other))
    values = []
    for sigma in (0.3, 0.6, 1.0):
        blurred = _described(scipy_filter(other, sigma))
        values.append(swd.sliced_wasserstein(_described(real), blurred))
    assert floor < values[0] < values[1] < values[2]
    noisy = real + 0.2 * torch.randn(real.shape, generator=torch.Generator().manual_seed(2))
    fine, coarse = by_level(_described(real), _described(noisy))
    assert fine > 1.5 * coarse


def test_colors_are_standardized_and_a_channel_of_one_value_does_no_harm():
    real = _images(50)
    assert swd.sliced_wasserstein(_described(real), _described(real * 0.5 + 0.25)) < 2
    opaque = torch.cat([real, torch.ones(50, 1, 32, 32)], dim=1)
    assert swd.sliced_wasserstein(_described(opaque), _described(opaque)) == 0


def test_does_not_depend_on_the_batch():
    images = _images()
    parts = [_described(part, 5 * i) for i, part in enumerate(images.split(5))]
    assert torch.equal(torch.cat(parts), _described(images))


def test_refuses_sets_that_differ():
    with pytest.raises(ValueError, match=r"^swd compares equally many images of the same size and channels, but "):
        swd.sliced_wasserstein(_described(_images(5)), _described(_images(6)))
