import numpy as np
import pytest
import torch

from models.stylegan2.finding import principal_components, sefa, spread, style_matrix
from models.stylegan2.layers import FullyConnected
from tests.networks import tiny_generator

LITERAL = torch.tensor([[3.0, 1.0, 0.0], [1.0, 2.0, 1.0], [0.0, -1.0, 4.0], [2.0, 0.0, 1.0]])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def one_group(w):
    return torch.zeros(len(w), dtype=torch.long)


@pytest.mark.parametrize("layers", [range(6), [0], [2, 3], [5]])
def test_the_matrix_gives_the_change_of_every_style_that_these_layers_drive(layers):
    G, n = tiny_generator(), normal(8).float()
    styles = []
    affines = [module for module in G.synthesis.modules() if isinstance(module, FullyConnected)]
    for affine in affines:
        affine.register_forward_hook(lambda module, inputs, output: styles.append(output[0].clone()))
    ws = normal(1, 6, 8, seed=1).float()
    G.synthesis(ws, "none")
    before, styles[:] = torch.cat(styles), []
    ws[:, list(layers)] += n
    G.synthesis(ws, "none")
    change = torch.cat(styles) - before
    A = style_matrix(G, layers)
    moved = change[change != 0]
    torch.testing.assert_close(A @ n.double(), moved.double(), rtol=1e-4, atol=1e-5)


def test_sefa_gives_the_eigenvectors_of_a_literal_matrix():
    directions = sefa(LITERAL, 3).numpy()
    values, vectors = np.linalg.eigh(LITERAL.numpy().astype(float).T @ LITERAL.numpy())
    for k in range(3):
        expected = vectors[:, 2 - k] * np.sign(vectors[np.abs(vectors[:, 2 - k]).argmax(), 2 - k])
        np.testing.assert_allclose(directions[k], expected, atol=1e-10)
        np.testing.assert_allclose(np.square(LITERAL.numpy() @ directions[k]).sum(), values[2 - k])


def test_components_are_those_of_a_singular_value_decomposition():
    w = normal(40, 5) * torch.tensor([3.0, 1.0, 0.2, 2.0, 0.5]) @ normal(5, 5, seed=1) + 7
    components = principal_components(w, one_group(w), 3)
    scales = spread(w, one_group(w), components)
    _, singular, rows = np.linalg.svd(w.numpy() - w.numpy().mean(axis=0))
    np.testing.assert_allclose(np.abs(np.sum(components.numpy() * rows[:3], axis=1)), 1)
    np.testing.assert_allclose(scales, singular[:3] / np.sqrt(39))
    assert bool((components.gather(1, components.abs().argmax(dim=1, keepdim=True)) > 0).all())


def test_components_vary_within_classes_and_do_not_lead_from_one_to_another():
    w, groups = normal(200, 3) * torch.tensor([0.1, 1.0, 0.3]), torch.arange(200) % 2
    w[groups == 1] += torch.tensor([10.0, 0.0, 0.0])
    apart, together = (principal_components(w, g, 1)[0] for g in (groups, one_group(w)))
    assert apart[1] > 0.99 and together[0] > 0.99
    assert spread(w, groups, torch.eye(3))[0] == pytest.approx(0.1, rel=0.15)
    assert spread(w, one_group(w), torch.eye(3))[0] == pytest.approx(5, rel=0.05)


def test_spread_counts_the_means_that_were_taken_off():
    w, groups = normal(9, 2), torch.tensor([4, 4, 4, 0, 0, 0, 0, 7, 7])
    parts = [w[groups == g].numpy() for g in (0, 4, 7)]
    squares = sum(np.square(part - part.mean(axis=0)).sum(axis=0) for part in parts)
    np.testing.assert_allclose(spread(w, groups, torch.eye(2)), np.sqrt(squares / (9 - 3)))


@pytest.mark.parametrize("count", [0, 4])
def test_more_directions_than_there_are(count):
    for found in (lambda: sefa(LITERAL, count), lambda: principal_components(LITERAL, one_group(LITERAL), count)):
        with pytest.raises(ValueError) as error:
            found()
        assert str(error.value) == f"{count} directions: w has 3 numbers, so there can be 1 to 3"


def test_a_sample_of_each_class_shows_no_spread():
    with pytest.raises(ValueError) as error:
        principal_components(normal(4, 3), torch.arange(4), 1)
    assert str(error.value) == ("4 samples of 4 classes do not show how w varies within a class: take more samples")
