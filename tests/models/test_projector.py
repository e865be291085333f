import pytest
import torch

from imaging.pixels import psnr, to_images, to_pixels
from models.perceptual.embeddings import pyramid_vectors
from models.stylegan2 import projector
from models.stylegan2.projector import (
    Projection,
    ProjectionSettings,
    class_means,
    learning_rate,
    nearest_mean,
    noise_correlation,
    normalize,
    w_noise,
)
from tests.networks import tiny_generator

EMBED = pyramid_vectors


@pytest.fixture(scope="module", name="G")
def tiny():
    return tiny_generator()


@pytest.fixture(scope="module", name="targets")
def own_pictures(G):
    """What the network makes of three latents, as a file would keep it."""
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(7))
    return to_images(to_pixels(G(z, noise_mode="const")))


def _projected(G, targets, **settings):
    settings = ProjectionSettings(**{"steps": 30, "noise": "const"} | settings)
    means, scale = class_means(G, settings.seed)
    projection = Projection(G, targets, EMBED, settings, means.expand(len(targets), -1), scale)
    for _ in range(settings.steps):
        projection.step()
    return projection


@pytest.mark.parametrize(
    ("t", "share"), [(0, 0), (0.025, 0.5), (0.05, 1), (0.4, 1), (0.75, 1), (0.875, 0.5), (0.9375, 0.1464466), (1, 0)]
)
def test_the_learning_rate_rises_over_a_twentieth_and_falls_over_a_quarter(t, share):
    assert learning_rate(t, 0.1) == pytest.approx(0.1 * share, abs=1e-9)


@pytest.mark.parametrize(("t", "share"), [(0, 1), (0.375, 0.25), (0.5, 1 / 9), (0.75, 0), (0.9, 0)])
def test_the_noise_on_w_is_gone_after_three_quarters(t, share):
    assert w_noise(t, 8.0) == pytest.approx(0.05 * 8.0 * share)


def _correlation(n):
    """The equation number by number, for one map: a list of rows."""
    total = 0.0
    while True:
        height, width = len(n), len(n[0])
        for dy, dx in ((1, 0), (0, 1)):
            products = [n[y][x] * n[y - dy][x - dx] for y in range(height) for x in range(width)]
            total += (sum(products) / len(products)) ** 2
        if min(height, width) < 16:
            return total
        n = [
            [2 * sum(n[2 * y + j][2 * x + i] for j in (0, 1) for i in (0, 1)) / 4 for x in range(width // 2)]
            for y in range(height // 2)
        ]


@pytest.mark.parametrize("shape", [(4, 4), (12, 24), (32, 16)])
def test_the_correlation_of_noise_is_its_equation(shape):
    noise = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(1))
    expected = torch.tensor([_correlation(noise[n, 0].tolist()) for n in range(2)])
    torch.testing.assert_close(noise_correlation(noise), expected, rtol=1e-4, atol=1e-6)


def test_normalized_noise_has_mean_0_and_variance_1():
    noise = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(4)) * 5 + 2
    noise[2] = 3
    normalize(noise)
    torch.testing.assert_close(noise.mean(dim=[1, 2, 3]), torch.zeros(3), rtol=0, atol=1e-6)
    torch.testing.assert_close(noise[:2].square().mean(dim=[1, 2, 3]), torch.ones(2))
    assert bool((noise[2] == 0).all())


@pytest.mark.parametrize(("space", "least"), [("w", 34.0), ("w+", 28.0)])
def test_pictures_of_the_network_itself_are_recovered(G, targets, space, least):
    projection = _projected(G, targets[:1], space=space, steps=40, rate=0.15)
    found = to_pixels(G.synthesis(projection.ws, "const"), "nearest")
    assert float(psnr(found, to_pixels(targets[:1], "nearest"))) > least
    assert (len(projection.ws[0].unique(dim=0)) == 1) == (space == "w")


@pytest.mark.parametrize("noise", ["const", "fit"])
def test_targets_do_not_influence_one_another(G, targets, noise):
    together = _projected(G, targets, noise=noise, steps=5)
    for n in range(len(targets)):
        alone = _projected(G, targets[n : n + 1], noise=noise, steps=5)
        torch.testing.assert_close(alone.ws[0], together.ws[n], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(alone.losses[0], together.losses[n], rtol=1e-3, atol=1e-4)


def test_noise_is_fitted_and_renormalized_at_every_step(G, targets):
    settings = ProjectionSettings(steps=3)
    means, scale = class_means(G, 0)
    projection = Projection(G, targets, EMBED, settings, means.expand(3, -1), scale)
    before = [noise.detach().clone() for noise in projection.maps]
    for _ in range(3):
        projection.step()
        for noise in projection.maps:
            torch.testing.assert_close(noise.mean(dim=[1, 2, 3]), torch.zeros(3), rtol=0, atol=1e-6)
            torch.testing.assert_close(noise.square().mean(dim=[1, 2, 3]), torch.ones(3))
    assert not any(torch.equal(a, b) for a, b in zip(before, projection.maps, strict=True))
    shown = G.synthesis.with_noise(projection.ws, projection.maps)
    assert not torch.allclose(shown, G.synthesis(projection.ws, "const"), atol=1e-3)


def test_layers_that_show_no_noise_have_none_to_fit(targets):
    G = tiny_generator()
    torch.nn.init.zeros_(G.synthesis.layers[0].noise.strength)
    before = _projected(G, targets, noise="fit", steps=1).maps
    after = _projected(G, targets, noise="fit", steps=2).maps
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True] + [False] * 4
    for layer in G.synthesis.layers:
        torch.nn.init.zeros_(layer.noise.strength)
    assert _projected(G, targets, noise="fit", steps=1).maps is None


def test_the_seed_decides_and_the_network_stays(G, targets):
    kept = {name: tensor.clone() for name, tensor in G.state_dict().items()}
    found = [_projected(G, targets, seed=seed, steps=4, noise="fit").ws for seed in (0, 0, 1)]
    assert torch.equal(found[0], found[1]) and not torch.allclose(found[0], found[2])
    assert all(torch.equal(kept[name], tensor) for name, tensor in G.state_dict().items())


def test_the_center_and_the_scale_of_w(G):
    means, scale = class_means(G, 0)
    w = G.mapping(torch.randn(20_000, 8, generator=torch.Generator().manual_seed(9)))
    assert means.shape == (1, 8)
    torch.testing.assert_close(means[0], w.mean(dim=0), rtol=0, atol=0.03)
    assert scale == pytest.approx(float((w - w.mean(dim=0)).square().sum(dim=1).mean().sqrt()), rel=0.02)


def test_each_class_has_its_center(monkeypatch):
    G = tiny_generator(classes=3)
    means, _ = class_means(G, 0)
    assert means.shape == (3, 8)
    assert torch.equal(class_means(G, 0, label=1)[0], means[1:2])
    monkeypatch.setattr(projector, "MOST_CLASSES", 2)
    torch.testing.assert_close(class_means(G, 0)[0], means.mean(dim=0, keepdim=True), rtol=0, atol=0.05)


def test_the_start_is_that_whose_picture_is_nearest_mean():
    G = tiny_generator(classes=3)
    means, _ = class_means(G, 0)
    pictures = G.synthesis(means[:, None].expand(-1, G.config.num_ws, -1), "const")
    assert nearest_mean(G, means, pictures[[2, 0, 1, 2]], EMBED).tolist() == [2, 0, 1, 2]
    assert nearest_mean(G, means[:1], pictures, EMBED).tolist() == [0, 0, 0]
