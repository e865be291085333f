"""Resampling against a slow transcription of the paper, and what the draws do to the matrices."""

from math import pi

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from tests.training.augment.chances import CPU, Said, drawn
from training.augment.color import SYM2
from training.augment.geometry import SYM6, Resampling, inverse, mirrored

WAVELET = np.array(SYM6)


def along(x: np.ndarray, axis: int, f) -> np.ndarray:
    return np.apply_along_axis(f, axis, x)


def reference(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """One channel, float64: pad by reflection, enlarge, look up, reduce (ADA, figure 17, lines 36 to 53)."""
    margin, (H, W) = 4 * max(image.shape), image.shape
    x = np.pad(image, margin, mode="reflect")
    delay = len(WAVELET) // 2 - 1
    for axis in (0, 1):
        zeros = np.repeat(x, 2, axis)
        zeros[(slice(None),) * axis + (slice(1, None, 2),)] = 0
        x = along(zeros, axis, lambda v: np.convolve(v, WAVELET)[delay : delay + len(v)])
    vertical, horizontal = np.mgrid[-12 : 2 * H + 12, -12 : 2 * W + 12]
    places = np.stack([horizontal - (W - 1), vertical - (H - 1), np.full_like(vertical, 2)]) / 2  # in pixels
    found = np.einsum("ij,jkl->ikl", matrix, places)[:2] * 2 + np.array([W - 1, H - 1])[:, None, None] + 2 * margin
    y = map_coordinates(x, found[::-1], order=1, mode="constant")
    for axis in (0, 1):
        y = along(y, axis, lambda v: np.correlate(v, WAVELET, "valid"))
        start = 12 - delay
        size = (H, W)[axis]
        y = np.take(y, range(start, start + 2 * size, 2), axis)
    return y


@pytest.mark.parametrize("size", [(12, 20), (24, 8)])
@pytest.mark.parametrize(
    "matrix",
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[-1, 0, 2], [0, 1, -3], [0, 0, 1]],
        [[0.7, -0.4, 1.3], [0.5, 1.1, -2.6], [0, 0, 1]],
        [[2.2, 0.8, 9.1], [-0.6, 1.9, 14.2], [0, 0, 1]],  # beyond the first mirror image
    ],
)
def test_resampling(size, matrix):
    rng = np.random.default_rng(0)
    image, matrix = rng.uniform(-1, 1, size), np.array(matrix, dtype=float)
    x = torch.tensor(image, dtype=torch.float32)[None, None]
    found = Resampling(*size, CPU)(x, torch.tensor(matrix, dtype=torch.float32)[None])
    np.testing.assert_allclose(found[0, 0].numpy(), reference(image, matrix), atol=2e-5)


@pytest.mark.parametrize("taps", [SYM2, SYM6])
def test_wavelets_are_orthogonal(taps):
    f = np.array(taps)
    assert f.sum() == pytest.approx(2**0.5, abs=1e-10)
    assert (f * [(-1) ** k for k in range(len(f))]).sum() == pytest.approx(0, abs=1e-10)
    for shift in range(0, len(f), 2):
        assert (f[shift:] * f[: len(f) - shift]).sum() == pytest.approx(float(shift == 0), abs=1e-10)


@pytest.mark.parametrize("start, stop", [(0, 5), (-3, 8), (-21, 26), (4, 5), (9, 12)])
def test_mirrored(start, stop):
    x = torch.arange(5.0)[None, None, None]
    padded = np.pad(x.numpy()[0, 0, 0], 30, mode="reflect")
    assert mirrored(x, 3, start, stop)[0, 0, 0].tolist() == padded[30 + start : 30 + stop].tolist()
    assert mirrored(x.mT, 2, start, stop)[0, 0, :, 0].tolist() == padded[30 + start : 30 + stop].tolist()


def matrices(names, q=0.7, size=(24, 40), **said):
    return inverse(frozenset(names), Said(q, 1, said), torch.tensor(1.0), *size)[0]


def test_each_transformation_is_what_it_is_called():
    def expect(found, rows):
        torch.testing.assert_close(found, torch.tensor([*rows, [0, 0, 1]], dtype=torch.float32), atol=1e-5, rtol=0)

    expect(matrices({"xflip"}), [[-1, 0, 0], [0, 1, 0]])
    expect(matrices({"rotate90"}, q=0.3), [[0, -1, 0], [1, 0, 0]])
    expect(matrices({"xint"}, **{"xint x": 0.9}), [[1, 0, -4], [0, 1, -1]])  # 0.8 x 5 pixels; round(0.4 x 3) = 1
    normal = float(torch.erfinv(torch.tensor(0.4)))
    s = 2 ** (-0.2 * normal)
    expect(matrices({"scale"}), [[s, 0, 0], [0, s, 0]])
    expect(matrices({"aniso"}), [[s, 0, 0], [0, 1 / s, 0]])
    expect(matrices({"xfrac"}), [[1, 0, -5 * normal], [0, 1, -3 * normal]])
    angle = torch.tensor(0.4 * pi)
    cos, sin = float(angle.cos()), float(angle.sin())
    expect(matrices({"rotate"}, **{"rotate after": 0.5}), [[cos, -sin, 0], [sin, cos, 0]])


def test_shares_of_images_that_are_transformed():
    """Flips and quarter turns come out as nothing in a half and a quarter of the cases in which they are made."""
    p, one = 0.3, torch.eye(3)
    shares = {"xflip": p / 2, "rotate90": p * 3 / 4, "scale": p, "aniso": p, "xfrac": p, "rotate": p}
    for name, share in shares.items():
        found = inverse(frozenset([name]), drawn(20_000), torch.tensor(p), 32, 32)
        changed = ((found - one).abs().amax(dim=[1, 2]) > 1e-6).float().mean()
        assert float(changed) == pytest.approx(share, abs=0.012), name  # 3.7 standard deviations


def test_sizes_of_what_is_drawn():
    found = inverse(frozenset(["scale"]), drawn(20_000), torch.tensor(1.0), 32, 32)
    assert float(found[:, 0, 0].log2().std()) == pytest.approx(0.2, rel=0.03)
    found = inverse(frozenset(["xfrac"]), drawn(20_000), torch.tensor(1.0), 32, 64)
    assert found[:, :2, 2].std(dim=0).tolist() == pytest.approx([8, 4], rel=0.03)
    found = inverse(frozenset(["xint"]), drawn(20_000), torch.tensor(1.0), 32, 64)
    assert found[:, :2, 2].abs().amax(dim=0).tolist() == [8, 4]
