"""From noise to a picture: solvers with one signature, each a generator of the pictures after every step.

    solver(denoise, x, process, noise) -> x after each step, the last one clean

`denoise(x, k)` gives the prediction for pictures at level k, `noise(step)` fresh normal numbers of the shape of x.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.diffusion.prediction import Prediction, Variance, log_variance, shifted
from models.diffusion.process import Process, at

STEEP = 1000.0  # sigma / alpha; the linear schedule ends at 158, the cosine schedule at 20,000

Denoise = Callable[[Tensor, int], Prediction]
Noise = Callable[[int], Tensor]
Solver = Callable[[Denoise, Tensor, Process, Noise], Iterator[Tensor]]


def ddpm_step(
    x: Tensor, prediction: Prediction, k: Tensor | int, process: Process, noise: Tensor, unlearned: Variance = "small"
) -> Tensor:
    """x_{k-1} drawn from the model's normal distribution (Ho et al. 2020, algorithm 2).

    A gradient moves its mean by variance * gradient (Dhariwal and Nichol 2021, algorithm 1).
    """
    mean = process.posterior(prediction.x0, x, k).mean
    log = log_variance(prediction, x, k, process, unlearned)
    if prediction.gradient is not None:
        mean = mean + log.exp() * prediction.gradient
    return mean + (at(process.sigma_before, k, x) > 0) * (0.5 * log).exp() * noise


def ddim_step(
    x: Tensor, prediction: Prediction, k: Tensor | int, process: Process, noise: Tensor, eta: float = 0.0
) -> Tensor:
    """x_{k-1} by Song et al. 2021, equation 12; eta 0 is deterministic, 1 as random as DDPM."""
    prediction = shifted(prediction, x, k, process)
    std = eta * at(process.posterior_variance.sqrt(), k, x)
    alpha, sigma = at(process.alpha_before, k, x), at(process.sigma_before, k, x)
    return alpha * prediction.x0 + (sigma**2 - std**2).clamp(min=0).sqrt() * prediction.eps + std * noise


def ddim_reverse_step(x: Tensor, prediction: Prediction, k: Tensor | int, process: Process) -> Tensor:
    """x_{k+1} of the deterministic process, towards noise; the last level leads to pure noise."""
    alpha = torch.cat([process.alpha[1:], torch.zeros_like(process.alpha[:1])])
    sigma = torch.cat([process.sigma[1:], torch.ones_like(process.sigma[:1])])
    return at(alpha, k, x) * prediction.x0 + at(sigma, k, x) * prediction.eps


def ddpm(
    denoise: Denoise, x: Tensor, process: Process, noise: Noise, unlearned: Variance = "small"
) -> Iterator[Tensor]:
    """Ancestral sampling (Ho et al. 2020)."""
    for step, k in enumerate(reversed(range(len(process)))):
        x = ddpm_step(x, denoise(x, k), k, process, noise(step), unlearned)
        yield x


def ddim(denoise: Denoise, x: Tensor, process: Process, noise: Noise, eta: float = 0.0) -> Iterator[Tensor]:
    """DDIM (Song et al. 2021); deterministic with eta 0."""
    for step, k in enumerate(reversed(range(len(process)))):
        x = ddim_step(x, denoise(x, k), k, process, noise(step) if eta else torch.zeros_like(x), eta)
        yield x


def euler(denoise: Denoise, x: Tensor, process: Process, noise: Noise) -> Iterator[Tensor]:
    """Euler steps of the probability flow in sigma / alpha (Karras et al. 2022, section 3): DDIM with eta 0.

    On the straight path of a flow they are Euler steps of the velocity in time as well.
    """
    return ddim(denoise, x, process, noise)


def heun(denoise: Denoise, x: Tensor, process: Process, noise: Noise) -> Iterator[Tensor]:
    """Heun's second-order steps of the probability flow (Karras et al. 2022, algorithm 1); the last is Euler's.

    x / alpha is integrated over sigma / alpha; where alpha nearly vanishes at the noisiest level, as on the straight
    path of a flow and with the cosine schedule, x / (alpha + sigma) over sigma / (alpha + sigma): the first steps
    would be too long otherwise.
    """
    for k in reversed(range(len(process))):
        here = shifted(denoise(x, k), x, k, process)
        after = ddim_step(x, here, k, process, torch.zeros_like(x))
        if k:
            there = shifted(denoise(after, k - 1), after, k - 1, process)
            mean = Prediction((here.x0 + there.x0) / 2, (here.eps + there.eps) / 2)
            after = _transported(x, mean, k, process)
        x = after
        yield x


def _transported(x: Tensor, mean: Prediction, k: int, process: Process) -> Tensor:
    """x_{k-1} by a constant slope between levels k and k - 1."""
    straight = bool(process.sigma[-1] > STEEP * process.alpha[-1])
    scale = process.alpha + process.sigma if straight else process.alpha
    before = process.alpha_before + process.sigma_before if straight else process.alpha_before
    slope = mean.eps - mean.x0 if straight else mean.eps
    change = at(process.sigma_before / before - process.sigma / scale, k, x)
    return at(before, k, x) * (x / at(scale, k, x) + change * slope)


def dpm2m(denoise: Denoise, x: Tensor, process: Process, noise: Noise) -> Iterator[Tensor]:
    """DPM-Solver++(2M) (Lu et al. 2022b, algorithm 2): second order with one evaluation a step; the last is DDIM's."""
    log_snr = [float(v) for v in (process.alpha.log() - process.sigma.log())]
    before: Tensor | None = None
    for k in reversed(range(len(process))):
        x0 = shifted(denoise(x, k), x, k, process).x0
        if k == 0:
            x = x0
        else:
            h = log_snr[k - 1] - log_snr[k]
            guess = x0
            if before is not None and log_snr[k + 1] > -float("inf"):
                r = (log_snr[k] - log_snr[k + 1]) / h
                guess = x0 + (x0 - before) / (2 * r)
            alpha = at(process.alpha_before, k, x)
            decay = at(process.sigma_before / process.sigma, k, x)
            x = decay * x - alpha * torch.expm1(torch.tensor(-h, dtype=torch.float64)).to(x) * guess
        before = x0
        yield x


SOLVERS: dict[str, Callable[..., Iterator[Tensor]]] = {
    "ddpm": ddpm,
    "ddim": ddim,
    "euler": euler,
    "heun": heun,
    "dpm2m": dpm2m,
}


def solver(name: str, **settings: Any) -> Solver:
    """A solver with its settings fixed: `eta` of ddim, `unlearned` of ddpm."""
    return partial(SOLVERS[name], **settings)
