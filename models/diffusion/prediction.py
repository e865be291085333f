"""What a network says of a noisy picture: the picture, the noise, and its uncertainty, by any objective."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch

from models.diffusion.process import Process, at

Objective = Literal["flow", "eps", "v", "x0"]
Variance = Literal["learned", "small", "large"]


class Prediction(NamedTuple):
    """Of noisy pictures x = alpha x_0 + sigma eps, all [N, C, H, W]."""

    x0: torch.Tensor  # the picture
    eps: torch.Tensor  # the noise
    variance: torch.Tensor | None = None  # learned: interpolates the step's log variance, -1 smallest, 1 largest
    gradient: torch.Tensor | None = None  # of the log probability of what is wished for, by x: a classifier's guidance


def interpret(
    output: torch.Tensor, x: torch.Tensor, k: torch.Tensor | int, process: Process, objective: Objective
) -> Prediction:
    """The prediction in a network's output.

    "eps": the noise (Ho et al. 2020); "x0": the picture; "v" and "flow": the derivative of x by the path's time,
    d_alpha x_0 + d_sigma eps (Salimans and Ho 2022; Lipman et al. 2023).

    Args:
        output: [N, C, H, W], or [N, 2 C, H, W] with learned variances.
        x: what the network was shown, [N, C, H, W].
        k: level of each sample, [N], or one level.
        process: its levels.
        objective: what the network was taught to predict.
    """
    channels = x.shape[1]
    told, variance = output[:, :channels], output[:, channels:] if output.shape[1] > channels else None
    alpha, sigma = at(process.alpha, k, x), at(process.sigma, k, x)
    if objective == "eps":
        return Prediction((x - sigma * told) / alpha, told, variance)
    if objective == "x0":
        return Prediction(told, (x - alpha * told) / sigma, variance)
    d_alpha, d_sigma = at(process.d_alpha, k, x), at(process.d_sigma, k, x)
    turn = alpha * d_sigma - d_alpha * sigma  # 1 for v, and on the straight path
    return Prediction((d_sigma * x - sigma * told) / turn, (alpha * told - d_alpha * x) / turn, variance)


def target(
    x0: torch.Tensor, eps: torch.Tensor, k: torch.Tensor | int, process: Process, objective: Objective
) -> torch.Tensor:
    """What a perfect network would put out for x = alpha x_0 + sigma eps."""
    if objective == "eps":
        return eps
    if objective == "x0":
        return x0
    return at(process.d_alpha, k, x0) * x0 + at(process.d_sigma, k, x0) * eps


def clipped(prediction: Prediction, x: torch.Tensor, k: torch.Tensor | int, process: Process) -> Prediction:
    """The prediction with its picture limited to [-1, 1], and the noise that fits the limited picture."""
    x0 = prediction.x0.clamp(-1, 1)
    return prediction._replace(x0=x0, eps=(x - at(process.alpha, k, x) * x0) / at(process.sigma, k, x))


def shifted(prediction: Prediction, x: torch.Tensor, k: torch.Tensor | int, process: Process) -> Prediction:
    """The prediction with its gradient put into the noise (Dhariwal and Nichol 2021, algorithm 2).

    eps - sigma * gradient; the picture follows from it. Pure noise, alpha 0, says nothing of the picture: there the
    gradient is left out.
    """
    if prediction.gradient is None:
        return prediction
    alpha, sigma = at(process.alpha, k, x), at(process.sigma, k, x)
    eps = prediction.eps - (alpha > 0) * sigma * prediction.gradient
    x0 = torch.where(alpha > 0, (x - sigma * eps) / alpha.clamp(min=1e-12), prediction.x0)
    return prediction._replace(x0=x0, eps=eps, gradient=None)


def log_variance(
    prediction: Prediction, x: torch.Tensor, k: torch.Tensor | int, process: Process, unlearned: Variance = "small"
) -> torch.Tensor:
    """The logarithm of the variance of x_{k-1} given x_k, broadcastable to x.

    Learned variances interpolate between those of the posterior and of the step (Nichol and Dhariwal 2021, equation
    15); otherwise it is one of the two, "small" or "large" (Ho et al. 2020, section 3.2).
    """
    smallest = at(process.posterior_log_variance, k, x)
    if prediction.variance is not None:
        share = (prediction.variance + 1) / 2
        return share * at(process.beta.log(), k, x) + (1 - share) * smallest
    if unlearned == "small":
        return smallest
    return at(torch.cat([process.posterior_variance[1:2], process.beta[1:]]).log(), k, x)
