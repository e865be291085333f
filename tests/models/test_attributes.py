import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from models.stylegan2.finding import apart, held_out_skill, logistic, ridge

N, D = 400, 4


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def one_group(w):
    return torch.zeros(len(w), dtype=torch.long)


def scaled(w, groups):
    """w less its group's mean, with a mean square of 1; and a column for each group."""
    x, groups = w.numpy().copy(), groups.numpy()
    for g in np.unique(groups):
        x[groups == g] -= x[groups == g].mean(axis=0)
    return x / np.sqrt(np.square(x).mean()), (groups[:, None] == np.unique(groups)).astype(float)


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_ridge_is_least_squares_with_rows_for_the_penalty_and_columns_for_the_classes(penalty):
    w, groups = 3 * normal(N, D) + 1, torch.arange(N) % 3
    y = w @ torch.tensor([1.0, 0.0, -2.0, 0.5]).double() + 5 * groups + normal(N, seed=1)
    x, columns = scaled(w, groups)
    X = np.vstack([np.hstack([x, columns]), np.hstack([np.sqrt(penalty * N) * np.eye(D), np.zeros([D, 3])])])
    b = np.linalg.lstsq(X, np.concatenate([y.numpy(), np.zeros(D)]), rcond=None)[0][:D]
    np.testing.assert_allclose(ridge(w, y, groups, penalty), b / np.linalg.norm(b), atol=1e-9)


@pytest.mark.parametrize("penalty", [0.001, 0.1])
def test_logistic_regression_is_the_minimum_that_another_method_finds(penalty):
    w, groups = 0.2 * normal(N, D) - 1, torch.arange(N) % 2
    labels = (w @ torch.tensor([4.0, 0.0, -8.0, 2.0]).double() + groups + normal(N, seed=1) > -1).double()
    x, columns = scaled(w, groups)
    X, y = np.hstack([x, columns]), labels.numpy()

    def loss(b):
        scores = X @ b
        return np.mean(np.logaddexp(0, scores) - y * scores) + penalty / 2 * np.square(b[:D]).sum()

    b = minimize(loss, np.zeros(D + 2), method="BFGS", options={"gtol": 1e-9}).x[:D]
    np.testing.assert_allclose(logistic(w, labels, groups, penalty), b / np.linalg.norm(b), atol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_plane_between_separable_samples_has_the_known_normal(scale):
    true = torch.nn.functional.normalize(normal(16, seed=2), dim=0)
    w = normal(2000, 16) * scale
    labels = (w @ true > 0).double()
    n = logistic(w, labels, one_group(w))
    assert n @ true > 0.99 and n.norm() == pytest.approx(1)
    torch.testing.assert_close(logistic(w, 1 - labels, one_group(w)), -n)


def test_an_attribute_that_one_class_has_more_often_does_not_lead_to_that_class():
    groups = torch.arange(2000) % 2
    w = normal(2000, 3)
    w[:, 0] += 3 * groups  # what tells the classes apart
    score = w[:, 1] + 2.0 * groups - 1  # class 1 smiles more often; within a class, number 1 decides
    within = torch.tensor([0.0, 1.0, 0.0]).double()
    for fit, values in ((logistic, (score > 0).double()), (ridge, score)):
        assert fit(w, values, groups) @ within > 0.99
        assert fit(w, values, one_group(w)) @ within < 0.95


def test_classes_without_both_labels_are_left_out():
    groups = torch.arange(600) % 3
    w = normal(600, 3)
    labels = (w[:, 1] > 0).double()
    labels[groups == 2] = 1
    some = groups < 2
    torch.testing.assert_close(logistic(w, labels, groups), logistic(w[some], labels[some], groups[some]))


def test_what_does_not_vary_within_a_class_has_no_direction():
    w, groups = normal(20, 3), torch.arange(20) % 2
    with pytest.raises(ValueError) as error:
        logistic(w, groups.double(), groups)
    assert str(error.value) == "no group has samples of both labels"
    with pytest.raises(ValueError) as error:
        ridge(w, 0.1 * groups + 0.3, groups)
    assert str(error.value) == "the values do not vary within any group"
    assert logistic(w, groups.double(), one_group(w)).norm() == pytest.approx(1)


def test_conditional_directions_leave_the_planes_of_the_others():
    normals = torch.nn.functional.normalize(normal(4, 6))
    freed = apart(normals)
    products = freed @ normals.T
    torch.testing.assert_close(products - products.diag().diag(), torch.zeros(4, 4).double())
    assert bool((products.diag() > 0).all())
    torch.testing.assert_close(freed.norm(dim=1), torch.ones(4).double())


def test_a_mixture_of_others_has_nothing_of_its_own():
    a, b = torch.eye(3).double()[:2]
    with pytest.raises(ValueError) as error:
        apart(torch.stack([a, (a + b) / 2**0.5, b]))
    assert str(error.value) == "direction 0 is a mixture of the others: leave one of them out"


@pytest.mark.parametrize("fit", [ridge, logistic])
def test_skill_is_high_for_what_w_decides_and_low_for_what_it_does_not(fit):
    w = normal(1000, 8)
    decided, noise = w[:, 3], normal(1000, seed=5)
    if fit is logistic:
        decided, noise = (decided > 0).double(), (noise > 0).double()
    assert held_out_skill(fit, w, decided, one_group(w)) > 0.75
    assert abs(held_out_skill(fit, w, noise, one_group(w))) < 3 / 200**0.5  # three standard errors of 200 samples


def test_skill_is_unknown_where_too_few_samples_vary():
    w = normal(6, 2)
    assert held_out_skill(logistic, w, torch.tensor([1.0, 0, 0, 0, 0, 0]), one_group(w)) is None
