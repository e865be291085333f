"""The variational bound of a diffusion process, in bits per dimension, and the losses made of it."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from models.diffusion.prediction import Objective, Prediction, interpret, log_variance, target
from models.diffusion.process import Process, at
from models.diffusion.solvers import Denoise, Noise

Kind = Literal["mse", "hybrid", "rescaled", "bound"]

HALF_BIN = 1 / 255  # half the distance of 8-bit values in [-1, 1]
EDGE = 0.999  # beyond it the first and the last bin are open


def flat_mean(x: Tensor) -> Tensor:
    """The mean over all axes but the first, [N]."""
    return x.flatten(1).mean(1)


def normal_kl(mean1: Tensor, log_variance1: Tensor, mean2: Tensor, log_variance2: Tensor) -> Tensor:
    """KL divergence of a normal distribution from another one, in nats, for each number."""
    ratio = (log_variance1 - log_variance2).exp()
    distance = (mean1 - mean2).square() * (-log_variance2).exp()
    return 0.5 * (log_variance2 - log_variance1 - 1 + ratio + distance)


def normal_cdf(x: Tensor) -> Tensor:
    """The cumulative normal distribution in the tanh form that the published losses use."""
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def discretized_log_likelihood(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """The log probability in nats of 8-bit values in [-1, 1] (Ho et al. 2020, equation 13)."""
    above = normal_cdf((x - mean + HALF_BIN) * (-log_std).exp())
    below = normal_cdf((x - mean - HALF_BIN) * (-log_std).exp())
    probability = torch.where(x < -EDGE, above, torch.where(x > EDGE, 1 - below, above - below))
    return probability.clamp(min=1e-12).log()


def bound(prediction: Prediction, x0: Tensor, x: Tensor, k: Tensor, process: Process) -> Tensor:
    """One term of the variational bound of each sample, bits per dimension [N] (Ho et al. 2020, equation 5).

    Args:
        prediction: of x, with learned variances or without.
        x0: the clean pictures.
        x: the noisy ones.
        k: their levels, [N]; level 0 has the likelihood of 8-bit pictures.
        process: the levels.
    """
    true = process.posterior(x0, x, k)
    mean = process.posterior(prediction.x0, x, k).mean
    log = log_variance(prediction, x, k, process, "large").expand_as(x)
    divergence = flat_mean(normal_kl(true.mean, true.log_variance, mean, log))
    first = flat_mean(-discretized_log_likelihood(x0, mean, 0.5 * log))
    return torch.where(k == 0, first, divergence) / math.log(2)


def prior_bits(x0: Tensor, process: Process) -> Tensor:
    """KL divergence of the noisiest level from the normal distribution, bits per dimension [N]."""
    mean, zero = at(process.alpha, -1, x0) * x0, x0.new_zeros([])
    return flat_mean(normal_kl(mean, at((process.sigma**2).log(), -1, x0), zero, zero)) / math.log(2)


class Losses(NamedTuple):
    """Of each sample, [N]."""

    loss: Tensor
    mse: Tensor
    vb: Tensor | None = None  # the term of the bound, where variances are learned


def losses(
    output: Tensor,
    x0: Tensor,
    noise: Tensor,
    k: Tensor,
    process: Process,
    objective: Objective,
    kind: Kind = "hybrid",
) -> Losses:
    """The training losses of a network's output for x = alpha x_0 + sigma noise.

    "mse": mean squared error of what the network predicts (Ho et al. 2020, equation 14). "hybrid": in addition the
    bound, which teaches the variances alone (Nichol and Dhariwal 2021, equation 16; the published factor 0.001 is one
    of 1000 terms of the bound). "rescaled": in addition the bound times steps / 1000. "bound": the bound alone.

    Args:
        output: [N, C, H, W], or [N, 2 C, H, W] with learned variances, for which alone kinds differ.
        x0, noise: [N, C, H, W].
        k: levels, [N].
    """
    x, channels = process.noised(x0, k, noise), x0.shape[1]
    wanted = target(x0, noise, k, process, objective)
    mse = flat_mean((wanted - output[:, :channels]).square())
    learned = output.shape[1] > channels
    if kind == "bound":
        vb = bound(interpret(output, x, k, process, objective), x0, x, k, process)
        return Losses(vb, mse, vb)
    if kind == "mse" or not learned:
        return Losses(mse, mse)
    frozen = torch.cat([output[:, :channels].detach(), output[:, channels:]], dim=1)
    vb = bound(interpret(frozen, x, k, process, objective), x0, x, k, process)
    vb = vb * (len(process) / 1000) if kind == "rescaled" else vb
    return Losses(mse + vb, mse, vb)


class Bits(NamedTuple):
    """The whole bound of pictures, bits per dimension: the terms from the noisiest level down."""

    total: Tensor  # [N]
    prior: Tensor  # [N]
    vb: Tensor  # [N, K]
    x0_mse: Tensor  # of the predicted picture, [N, K]
    mse: Tensor  # of the predicted noise, [N, K]


def bits(denoise: Denoise, x0: Tensor, process: Process, noise: Noise) -> Bits:
    """The variational bound of pictures over a whole process (Ho et al. 2020, section 4.3).

    Args:
        denoise: as of the solvers.
        x0: clean pictures [N, C, H, W] in [-1, 1].
        process: the levels.
        noise: fresh normal numbers for each level, counted from the noisiest.
    """
    terms, picture_errors, noise_errors = [], [], []
    for step, k in enumerate(reversed(range(len(process)))):
        eps = noise(step)
        x = process.noised(x0, k, eps)
        prediction = denoise(x, k)
        terms.append(bound(prediction, x0, x, torch.full((len(x0),), k), process))
        picture_errors.append(flat_mean((prediction.x0 - x0).square()))
        noise_errors.append(flat_mean((prediction.eps - eps).square()))
    prior, vb = prior_bits(x0, process), torch.stack(terms, 1)
    return Bits(vb.sum(1) + prior, prior, vb, torch.stack(picture_errors, 1), torch.stack(noise_errors, 1))
