"""Noise and cutout; the fused change of colors against the paper's chain of 4 x 4 matrices."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from tests.training.augment.chances import Said, drawn
from training.augment.color import add_noise, cut_out, recolor
from training.augment.pipeline import COLOR

V = np.array([1, 1, 1, 0]) / np.sqrt(3)


def chain(q: float) -> np.ndarray:
    """ADA, figure 17, lines 54 to 71, for one percentile."""
    normal, C = float(torch.erfinv(torch.tensor(2 * q - 1))), np.eye(4)
    C[:3, 3] = 0.2 * normal
    C = np.diag([*[2 ** (0.5 * normal)] * 3, 1]) @ C
    C = (np.eye(4) - 2 * np.outer(V, V) * np.floor(2 * q)) @ C
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(V[:3] * (2 * q - 1) * np.pi).as_matrix()
    saturation = np.outer(V, V) + (np.eye(4) - np.outer(V, V)) * 2**normal
    saturation[3, 3] = 1  # the paper's matrix would scale the offset with the colors, which nothing does
    return saturation @ turn @ C


@pytest.mark.parametrize("q", [0.2, 0.45, 0.7, 0.9])
def test_all_at_once(q):
    images = torch.rand(2, 3, 4, 6) * 2 - 1
    found = recolor(images, COLOR, Said(q, 2), torch.tensor(1.0))
    flat = images.double().flatten(2).numpy()
    expected = chain(q)[:3, :3] @ flat + chain(q)[:3, 3:]
    np.testing.assert_allclose(found.flatten(2).numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("q", [0.2, 0.7])
def test_gray_is_the_mean_of_what_gray_colors_become(q):
    images = torch.rand(2, 1, 4, 6) * 2 - 1
    gray = recolor(images, COLOR, Said(q, 2), torch.tensor(1.0))
    colored = recolor(images.expand(-1, 3, -1, -1), COLOR, Said(q, 2), torch.tensor(1.0))
    torch.testing.assert_close(gray, colored.mean(dim=1, keepdim=True), atol=1e-6, rtol=0)


def test_alpha_stays():
    images = torch.rand(2, 4, 4, 6) * 2 - 1
    found = recolor(images, COLOR, Said(0.7, 2), torch.tensor(1.0))
    assert torch.equal(found[:, 3], images[:, 3])
    assert torch.equal(found[:, :3], recolor(images[:, :3], COLOR, Said(0.7, 2), torch.tensor(1.0)))


def test_shares_and_sizes():
    black, red = torch.zeros(20_000, 3, 1, 1), torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1).expand(20_000, -1, 1, 1)
    light = recolor(black, frozenset(["brightness"]), drawn(20_000), torch.tensor(0.3))[:, 0, 0, 0]
    assert float((light != 0).float().mean()) == pytest.approx(0.3, abs=0.012)
    assert float(light[light != 0].std()) == pytest.approx(0.2, rel=0.03)
    for name, share in {"contrast": 0.3, "saturation": 0.3, "hue": 0.3, "lumaflip": 0.15}.items():
        found = recolor(red, frozenset([name]), drawn(20_000), torch.tensor(0.3))
        changed = ((found - red).abs().amax(dim=[1, 2, 3]) > 1e-6).float().mean()
        assert float(changed) == pytest.approx(share, abs=0.012), name


def test_noise_has_a_strength_of_its_own_in_each_image():
    clean = torch.zeros(4000, 3, 8, 8)
    noisy = add_noise(clean, drawn(4000), torch.tensor(0.4))
    strength = noisy.flatten(1).std(dim=1)
    assert float((strength > 0).float().mean()) == pytest.approx(0.4, abs=0.03)
    # Half-normal: the mean square of the strengths is 0.1 squared.
    assert float(strength[strength > 0].square().mean().sqrt()) == pytest.approx(0.1, rel=0.06)
    assert not torch.equal(noisy[:, 0], noisy[:, 1])


def test_alpha_gets_no_noise():
    images = torch.rand(8, 4, 8, 8)
    noisy = add_noise(images, drawn(8), torch.tensor(1.0))
    assert torch.equal(noisy[:, 3], images[:, 3]) and (noisy[:, :3] != images[:, :3]).all()


def test_half_of_each_side_is_cut_out():
    images = torch.ones(1, 3, 16, 32)
    found = cut_out(images, Said(0.5, 1), torch.tensor(1.0))[0]
    expected = torch.ones(3, 16, 32)
    expected[:, 4:12, 8:24] = 0
    assert torch.equal(found, expected)
    corner = cut_out(images, Said(0.0, 1), torch.tensor(1.0))[0]
    left = cut_out(images, Said(0.5, 1, {"cutout x": 0.0}), torch.tensor(1.0))[0]
    assert (left[:, 4:12, :8] == 0).all() and left.sum() == 3 * (16 * 32 - 8 * 8)
    assert (corner[:, :4, :8] == 0).all() and corner.sum() == 3 * (16 * 32 - 4 * 8)


def test_the_share_of_images_with_a_hole():
    found = cut_out(torch.ones(10_000, 1, 8, 8), drawn(10_000), torch.tensor(0.3))
    assert float((found == 0).flatten(1).any(dim=1).float().mean()) == pytest.approx(0.3, abs=0.017)
