"""The filter bank by its properties, the gains against the paper's loop, the whole against scipy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d

from tests.training.augment.chances import CPU, Said, drawn
from training.augment.color import POWER, Filtering, bandpass


def response(bank: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Of symmetric filters, [bands, frequencies]; 1 is the highest frequency."""
    k = np.arange(bank.shape[1]) - bank.shape[1] // 2
    return bank @ np.cos(np.pi * np.outer(k, frequencies))


def test_the_bands():
    bank = bandpass()
    assert bank.shape == (4, 43)
    np.testing.assert_allclose(bank, bank[:, ::-1], atol=1e-12)
    np.testing.assert_allclose(bank.sum(axis=0), np.eye(43)[21], atol=1e-12)  # together they do nothing
    middles = response(bank, np.array([0, 3 / 16, 3 / 8, 1.0]))
    assert (middles.argmax(axis=0) == range(4)).all() and (middles.diagonal() > 0.7).all()
    assert (response(bank, np.linspace(0, 1, 200)) > -1e-9).all()


def test_gains_follow_the_loop_of_the_paper():
    chances, p = drawn(64), torch.tensor(0.5)
    expected = np.ones([64, 4])
    for band in range(4):
        normal = chances.where(f"filter {band}", p, chances.normal(f"filter {band}")).numpy()
        t = np.ones([64, 4])
        t[:, band] = 2.0**normal
        expected *= t / np.sqrt((np.array(POWER) * t**2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(Filtering(CPU).gains(chances, p).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (32, 12)])
def test_it_is_a_separable_filter_between_mirrors(size):
    images, chances = torch.rand(2, 3, *size) * 2 - 1, drawn(2)
    p = torch.tensor(1.0)
    filtering = Filtering(CPU)
    found = filtering(images, chances, p).numpy()
    taps = filtering.gains(chances, p).double().numpy() @ bandpass()
    for image, f, y in zip(images.double().numpy(), taps, found, strict=True):
        expected = convolve1d(convolve1d(image, f, axis=1, mode="mirror"), f, axis=2, mode="mirror")
        np.testing.assert_allclose(y, expected, atol=5e-6)


def test_a_uniform_image_changes_by_the_gain_of_the_lowest_band():
    filtering, chances, p = Filtering(CPU), Said(0.8, 1), torch.tensor(1.0)
    found = filtering(torch.full([1, 1, 8, 8], 0.5), chances, p)
    torch.testing.assert_close(found, torch.full_like(found, 0.5) * filtering.gains(chances, p)[:, 0] ** 2)
