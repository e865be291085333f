import pytest
import torch

from metrics import distances as pr


def _points(*, count=200, dimensions=8, seed=0):
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def _line(*values):
    return torch.tensor(values, dtype=torch.float32)[:, None]


def _literal(reference, points, k):
    """The definition, point by point."""
    inside = 0
    for point in points:
        for i, center in enumerate(reference):
            others = torch.cat([reference[:i], reference[i + 1 :]])
            radius = (others - center).square().sum(dim=1).sqrt().sort().values[k - 1]
            if (point - center).square().sum().sqrt() <= radius:
                inside += 1
                break
    return inside / len(points)


def test_identical_sets_have_full_precision_and_recall():
    points = _points()
    assert pr.precision_recall(points, points.clone()) == (1, 1)


def test_disjoint_sets_have_neither():
    assert pr.precision_recall(_points(), _points(seed=1) + 1000) == (0, 0)


def test_a_collapsed_generator_is_precise_and_recalls_little():
    real = _points()
    precision, recall = pr.precision_recall(real, real[:1] + 1e-3 * _points(seed=1))
    assert precision == 1
    assert recall <= 1 / len(real)


def test_a_generator_of_half_the_modes_recalls_half():
    left, right = _points(seed=1), _points(seed=2) + 1000
    assert pr.precision_recall(torch.cat([left, right]), left) == (1, 0.5)
    assert pr.precision_recall(left, torch.cat([left, right])) == (0.5, 1)


def test_closed_form_on_a_line():
    real, fake = _line(0, 1, 2, 3), _line(0.5, 10, 11, 12.5)
    torch.testing.assert_close(pr.neighbor_distances(fake, k=1), torch.tensor([9.5, 1, 1, 1.5]))
    assert pr.precision_recall(real, fake, k=1) == (0.25, 1)


@pytest.mark.parametrize("k", [1, 3])
def test_agrees_with_the_literal_definition_in_any_slices(k, monkeypatch):
    real, fake = _points(count=40, dimensions=3), 1.3 * _points(count=30, dimensions=3, seed=1) + 0.5
    expected = (_literal(real, fake, k), _literal(fake, real, k))
    assert 0 < expected[0] < 1
    assert pr.precision_recall(real, fake, k) == pytest.approx(expected)
    monkeypatch.setattr(pr, "BLOCK", 280)
    assert pr.precision_recall(real, fake, k) == pytest.approx(expected)


def test_equal_points_are_no_distance_apart():
    assert pr.neighbor_distances(torch.full([50, 4], 0.1), k=3).eq(0).all()
    assert pr.precision_recall(torch.full([50, 4], 0.1), torch.full([50, 4], 0.1)) == (1, 1)


def test_refuses_too_few_points_and_features_that_do_not_fit():
    with pytest.raises(ValueError, match=r"^neighbor number 3 needs more than 3 points, got 3$"):
        pr.neighbor_distances(_points(count=3))
    message = r"^features have 8 and 4 dimensions: they come from two detectors$"
    with pytest.raises(ValueError, match=message):
        pr.coverage(_points(), _points(dimensions=4))
