from statistics import mean, stdev

import numpy as np
import pytest
import torch

from metrics import distances
from metrics.distances import discrepancy, kernel_distance


def _points(count=200, dimensions=5, seed=0):
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def _literal(x, y):
    """Equation 4, pair by pair."""

    def k(a, b):
        return (float(np.dot(a, b)) / len(a) + 1) ** 3

    m = len(x)
    within = sum(k(p[i], p[j]) for p in (x, y) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within - 2 * sum(k(a, b) for a in x for b in y) / m**2


def test_agrees_with_the_literal_definition():
    x, y = _points(12), _points(12, seed=1) + 0.3
    assert discrepancy(x.double(), y.double()).item() == pytest.approx(_literal(x.numpy(), y.numpy()), rel=1e-6)


def test_small_sets_are_taken_whole():
    x, y = _points(12), _points(12, seed=1) + 0.3
    assert kernel_distance(x, y) == pytest.approx(_literal(x.numpy(), y.numpy()), rel=1e-5)


def test_closed_form_of_two_points():
    x, y = torch.tensor([[1.0], [1.0]]), torch.tensor([[0.0], [0.0]])
    assert kernel_distance(x, y) == pytest.approx(2**3 + 1 - 2 * 1)


def test_is_unbiased_on_equal_distributions():
    pairs = [(_points(30, seed=2 * i).double(), _points(30, seed=2 * i + 1).double()) for i in range(300)]
    found = [discrepancy(x, y).item() for x, y in pairs]
    assert min(found) < 0 < max(found)
    assert abs(mean(found)) < 4 * stdev(found) / 300**0.5
    biased = [value + 2 * 5 / 30 for value in found]  # what the diagonals would add at the least
    assert mean(biased) > 4 * stdev(found) / 300**0.5


def test_tells_distributions_apart(monkeypatch):
    monkeypatch.setattr(distances, "SUBSETS", 10)
    real = _points(500)
    assert kernel_distance(real, _points(500, seed=1)) < 0.02 < kernel_distance(real, _points(500, seed=1) * 1.5)


def test_subsets_are_drawn_again_for_each_and_by_the_seed(monkeypatch):
    monkeypatch.setattr(distances, "LARGEST", 20)
    real, fake = _points(100), _points(80, seed=1)
    assert kernel_distance(real, fake, seed=1) == kernel_distance(real, fake, seed=1) != kernel_distance(real, fake)
    monkeypatch.setattr(distances, "SUBSETS", 1)
    one = kernel_distance(real, fake)
    monkeypatch.setattr(distances, "SUBSETS", 100)
    assert kernel_distance(real, fake) != one


def test_refusals():
    with pytest.raises(ValueError, match=r"^a kernel distance needs at least 2 points of each set, got 1$"):
        kernel_distance(_points(1), _points())
    with pytest.raises(ValueError, match=r"^features have 5 and 4 dimensions: they come from two detectors$"):
        kernel_distance(_points(), _points(dimensions=4))
