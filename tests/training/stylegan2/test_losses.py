"""Losses against closed forms."""

from math import log, sqrt

import pytest
import torch

from training.stylegan2 import losses as gan_losses


def test_logistic_losses():
    """-log sigmoid and -log(1 - sigmoid), written out; at zero both are log 2."""
    s = torch.tensor([[-3.0], [0.0], [2.5]], dtype=torch.float64)
    p = 1 / (1 + torch.exp(-s))
    torch.testing.assert_close(gan_losses.generator_loss(s), -torch.log(p))
    torch.testing.assert_close(gan_losses.discriminator_real_loss(s), -torch.log(p))
    torch.testing.assert_close(gan_losses.discriminator_fake_loss(s), -torch.log(1 - p))
    assert gan_losses.generator_loss(s)[1].item() == pytest.approx(log(2))


def test_relativistic_loss():
    """-log sigmoid of the difference of a pair, written out; equal scores give log 2, and a common shift nothing."""
    winner, loser = torch.tensor([[1.5, -2.0, 0.3], [0.5, 3.0, 0.3]], dtype=torch.float64)
    p = 1 / (1 + torch.exp(loser - winner))
    loss = gan_losses.relativistic_loss(winner, loser)
    torch.testing.assert_close(loss, -torch.log(p))
    torch.testing.assert_close(gan_losses.relativistic_loss(winner + 100, loser + 100), loss)
    assert loss[2].item() == pytest.approx(log(2))


def test_a_relativistic_pair_pulls_both_scores_alike():
    """With p = sigmoid(winner - loser) the gradient is p - 1 by the winner and 1 - p by the loser."""
    scores = torch.tensor([0.7, -0.4], dtype=torch.float64, requires_grad=True)
    gan_losses.relativistic_loss(scores[0], scores[1]).backward()
    p = 1 / (1 + torch.exp(torch.tensor(-1.1, dtype=torch.float64)))
    torch.testing.assert_close(scores.grad, torch.stack([p - 1, 1 - p]))


def test_r1_of_a_quadratic():
    """D(x) = a |x|^2 / 2 + b x has the gradient a x + b, and d/da of the mean penalty is 2 mean((a x + b) x)."""
    a = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    b = torch.randn(2, 4, 5, dtype=torch.float64)
    scores = (a * x.square() / 2 + b * x).sum(dim=[1, 2, 3])
    penalty = gan_losses.gradient_penalty(x, scores)
    gradient = (a * x + b).detach()
    torch.testing.assert_close(penalty, gradient.square().sum(dim=[1, 2, 3]))
    penalty.mean().backward()
    expected = 2 * (gradient * x.detach()).sum() / 3
    torch.testing.assert_close(a.grad, expected)


def test_path_length_of_a_linear_generator():
    """g(w) = A w has the Jacobian A everywhere, so the length is |A^T y| / sqrt(L) when L copies of w are summed."""
    L, D, H, W = 4, 3, 5, 6
    A = torch.randn(2 * H * W, D, dtype=torch.float64)
    ws = torch.randn(7, L, D, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(7, 2, H, W, dtype=torch.float64)
    images = (ws.sum(dim=1) @ A.t()).reshape(7, 2, H, W)
    lengths = gan_losses.path_lengths(images, ws, noise)
    # each of the L layers has the same gradient A^T y, so the mean over the layers of its square is that of one
    expected = (noise.reshape(7, -1) @ A / sqrt(H * W)).norm(dim=1)
    torch.testing.assert_close(lengths, expected)


def test_path_mean_and_penalty():
    lengths = torch.tensor([1.0, 3.0], dtype=torch.float64, requires_grad=True)
    mean = gan_losses.path_length_mean(torch.tensor(1.0, dtype=torch.float64), lengths, decay=0.25)
    assert mean.item() == pytest.approx(1 + 0.25 * (2 - 1))
    penalty = gan_losses.path_penalty(lengths, mean)
    torch.testing.assert_close(penalty, torch.tensor([0.0625, 3.0625], dtype=torch.float64))
    # the mean takes part in the gradient: d/dl_i sum (l_j - m)^2 = 2 (l_i - m) - 2 decay / n sum (l_j - m)
    penalty.sum().backward()
    residual = torch.tensor([-0.25, 1.75], dtype=torch.float64)
    torch.testing.assert_close(lengths.grad, 2 * residual - 2 * 0.25 / 2 * residual.sum())
