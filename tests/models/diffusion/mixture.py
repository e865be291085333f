"""Data whose perfect denoiser is known in closed form: a mixture of normal distributions in the plane."""

import torch
from torch import Tensor

from models.diffusion.prediction import Objective, Prediction, target
from models.diffusion.process import Process, at

MEANS = torch.tensor([[1.5, 0.5], [-1.0, -0.5]], dtype=torch.float64)
STD = 0.5
SHARES = torch.tensor([0.4, 0.6], dtype=torch.float64)


def _of_components(x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Log density and score of each component's noisy points: [N, 2], [N, 2, 2]."""
    flat, a, s = x.flatten(1), alpha.flatten(1), sigma.flatten(1)
    variance = a**2 * STD**2 + s**2
    away = flat[:, None] - a[:, None] * MEANS
    log = -0.5 * (away**2).sum(2) / variance - variance.log() + SHARES.log()
    return log, -away / variance[:, None]


def score(x: Tensor, k: Tensor | int, process: Process, c: int | None) -> Tensor:
    """The gradient of log p(x_k | c), or of log p(x_k) with c None. x [N, 1, 1, 2]."""
    log, scores = _of_components(x, at(process.alpha, k, x), at(process.sigma, k, x))
    if c is not None:
        return scores[:, c].reshape(x.shape)
    return (log.softmax(1)[:, :, None] * scores).sum(1).reshape(x.shape)


def logits(x: Tensor, k: Tensor | int, process: Process) -> Tensor:
    """log p(c | x_k) up to a constant, [N, 2]."""
    return _of_components(x, at(process.alpha, k, x), at(process.sigma, k, x))[0]


def perfect(x: Tensor, k: Tensor | int, process: Process, c: int | None) -> Prediction:
    """The expected picture and noise of x."""
    alpha, sigma = at(process.alpha, k, x), at(process.sigma, k, x)
    found = score(x, k, process, c)
    log, _ = _of_components(x, alpha, sigma)
    variance = alpha**2 * STD**2 + sigma**2
    flat = x.flatten(1)[:, None]
    gain = (alpha * STD**2 / variance).flatten(1)[:, None]
    means = MEANS + gain * (flat - alpha.flatten(1)[:, None] * MEANS)  # of the picture, for each component
    weight = log.softmax(1)[:, :, None] if c is None else torch.eye(2, dtype=x.dtype)[c][None, :, None]
    return Prediction((weight * means).sum(1).reshape(x.shape), -sigma * found)


def output(x: Tensor, k: Tensor | int, process: Process, objective: Objective, c: int | None) -> Tensor:
    """What a perfect network of an objective puts out."""
    found = perfect(x, k, process, c)
    return target(found.x0, found.eps, k, process, objective)
