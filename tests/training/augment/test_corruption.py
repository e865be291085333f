"""Noise and cutout."""

import pytest
import torch

from tests.training.augment.chances import Said, drawn
from training.augment.corruption import add_noise, cut_out


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
    assert (corner[:, :4, :8] == 0).all() and corner.sum() == 3 * (16 * 32 - 4 * 8)


def test_the_share_of_images_with_a_hole():
    found = cut_out(torch.ones(10_000, 1, 8, 8), drawn(10_000), torch.tensor(0.3))
    assert float((found == 0).flatten(1).any(dim=1).float().mean()) == pytest.approx(0.3, abs=0.017)
