import numpy as np
import pytest
import scipy.linalg
import torch

from metrics.distances import Gaussian, Sums, frechet_distance, gaussian


def _points(count=300, dimensions=6, seed=0):
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _diagonal(mean, variances):
    return Gaussian(torch.tensor(mean).double(), torch.tensor(variances).double().diag())


def _reference(a, b):
    """With the square root of the product of the covariances, as in the paper."""
    root = scipy.linalg.sqrtm(a.covariance.numpy() @ b.covariance.numpy())
    means = ((a.mean - b.mean) ** 2).sum().item()
    return means + np.trace(a.covariance.numpy() + b.covariance.numpy() - 2 * root.real)


def test_closed_form_of_independent_dimensions():
    a, b = _diagonal([0, 0, 1], [4, 1, 9]), _diagonal([3, 4, 1], [1, 1, 0.25])
    assert frechet_distance(a, b) == pytest.approx(25 + (2 - 1) ** 2 + 0 + (3 - 0.5) ** 2, abs=1e-12)


def test_closed_form_of_scaled_covariances():
    """C and s^2 C commute, so the distance is (s - 1)^2 tr C."""
    g = gaussian(_points() @ _points(6, seed=1))
    other = Gaussian(g.mean, 2.25 * g.covariance)
    assert frechet_distance(g, other) == pytest.approx(0.25 * g.covariance.trace().item(), rel=1e-10)


def test_agrees_with_the_square_root_of_scipy():
    a, b = gaussian(_points() @ _points(6, seed=1)), gaussian(_points(seed=2) @ _points(6, seed=3) + 1)
    assert frechet_distance(a, b) == pytest.approx(_reference(a, b), rel=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)


def test_is_exact_where_covariances_are_singular():
    """Fewer points than dimensions, as when a small set is judged by 2048 features."""
    few = _points(20, 64)
    g, moved = gaussian(few), gaussian(few + 0.5)
    assert frechet_distance(g, g) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(g, moved) == pytest.approx(64 * 0.25, rel=1e-9)


def test_permuted_halves_of_one_set_lie_closer_than_another_set():
    points = _points(2000)
    order = torch.randperm(2000, generator=torch.Generator().manual_seed(1))
    halves = [gaussian(points[part]) for part in order.chunk(2)]
    assert frechet_distance(*halves) < 0.05 < frechet_distance(halves[0], gaussian(_points(1000, seed=5) * 1.3))


@pytest.mark.parametrize("size", [1, 7, 300])
def test_sums_give_numpys_mean_and_covariance_in_any_parts(size):
    points = (_points() + 100).float()  # far from 0, where sums in float32 would fail
    sums = Sums()
    for part in points.split(size):
        sums.add(part)
    found = sums.gaussian()
    np.testing.assert_allclose(found.mean, points.double().numpy().mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(points.double().numpy().T, bias=True), atol=1e-9)


def test_refusals():
    with pytest.raises(ValueError, match=r"^features have 6 and 5 dimensions: they come from two detectors$"):
        frechet_distance(gaussian(_points()), gaussian(_points(dimensions=5)))
    message = r"^some features are not finite numbers: there is no Fréchet distance of them$"
    with pytest.raises(ValueError, match=message):
        frechet_distance(gaussian(_points()), gaussian(_points() * float("nan")))
    with pytest.raises(ValueError, match=r"^a covariance needs at least 2 points, got 1$"):
        gaussian(_points(1))
