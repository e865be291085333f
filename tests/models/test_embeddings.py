import pytest
import torch

from models.perceptual.embeddings import for_lpips, lpips_size, perceptual_likeness, pyramid, pyramid_vectors
from tests.networks import tiny_generator


def _distance(embed, a, b):
    return (embed(a) - embed(b)).square().sum(dim=1)


def test_an_offset_costs_its_square():
    images = torch.rand(2, 3, 32, 16, generator=torch.Generator().manual_seed(0))
    found = _distance(pyramid_vectors, images, images + torch.tensor([0.5, -0.25])[:, None, None, None])
    torch.testing.assert_close(found, torch.tensor([0.25, 0.0625]))


@pytest.mark.parametrize("gradient", [0.0, 1.0, 3.0])
def test_a_ramp_costs_its_closed_form(gradient):
    """A slope a along the width W: at the size W / 2^k its slope is 2^k a, over W / 2^k pixels."""
    a, W, sizes = 0.125, 32, 3
    ramp = (a * (torch.arange(W) - (W - 1) / 2)).expand(1, 1, W, W)
    # The mean square of n numbers with the step d around 0 is d^2 (n^2 - 1) / 12.
    terms = [(2**k * a) ** 2 * (((W / 2**k) ** 2 - 1) / 12 + gradient) for k in range(sizes)]
    found = _distance(lambda x: pyramid_vectors(x, gradient), ramp, torch.zeros(1, 1, W, W))
    assert float(found) == pytest.approx(sum(terms) / sizes, rel=1e-5)
    turned = _distance(lambda x: pyramid_vectors(x, gradient), ramp.mT, torch.zeros(1, 1, W, W))
    torch.testing.assert_close(found, turned)


def test_the_sizes_end_at_8_pixels():
    assert [list(x.shape[2:]) for x in pyramid(torch.zeros(1, 1, 64, 48))] == [[64, 48], [32, 24], [16, 12]]
    assert len(pyramid(torch.zeros(1, 1, 12, 12))) == 1


def test_an_edge_aside_costs_less_than_one_that_is_missing():
    edge, aside, missing = (torch.zeros(1, 1, 32, 32) for _ in range(3))
    edge[..., 16:], aside[..., 17:], missing[...] = 1.0, 1.0, 0.5
    near, far = (float(_distance(pyramid_vectors, edge, other)) for other in (aside, missing))
    assert near < 0.6 * far


def test_lpips_and_the_error_of_the_pixels_are_added():
    a, b = torch.rand(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    embed = perceptual_likeness(lambda pixels: pixels.mean(dim=(2, 3)))
    means = ((a - b) * 127.5).mean(dim=(2, 3)).square().sum(dim=1)
    torch.testing.assert_close(_distance(embed, a, b), means + (a - b).square().mean(dim=(1, 2, 3)), rtol=1e-4, atol=0)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_channels_have_gradients(channels):
    G = tiny_generator(channels=channels)
    z = torch.zeros(1, 8, requires_grad=True)
    for embed in (pyramid_vectors, perceptual_likeness(lambda pixels: pixels.flatten(1)[:, : 3 * 256])):
        (gradient,) = torch.autograd.grad(embed(G(z, noise_mode="const")).square().sum(), z)
        assert bool(gradient.isfinite().all()) and float(gradient.abs().sum()) > 0


def test_large_images_are_averaged_down_for_lpips():
    images = torch.rand(1, 3, 520, 1024, generator=torch.Generator().manual_seed(2)) * 2 - 1
    found = for_lpips(images)
    assert tuple(found.shape[2:]) == lpips_size(520, 1024) == (130, 256)
    assert float(found[0, 1, 5, 7]) == pytest.approx(float((images[0, 1, 20:24, 28:32].mean() + 1) * 127.5), rel=1e-5)
    assert lpips_size(256, 256) == (256, 256) and lpips_size(400, 511) == (400, 511)
    assert torch.equal(for_lpips(images[..., :300, :400]), (images[..., :300, :400] + 1) * 127.5)
