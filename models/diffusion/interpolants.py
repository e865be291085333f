"""Stochastic interpolants: paths between noise and data, and the equations that lead along them (Ma et al. 2024).

Time runs from noise (0) to data (1): x_t = alpha x_1 + sigma x_0, with data x_1 and normal noise x_0.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Path = Literal["Linear", "GVP", "VP"]
Predicted = Literal["velocity", "noise", "score"]
Weight = Literal["", "velocity", "likelihood"]
Last = Literal["Mean", "Euler", "Tweedie"]
Field = Callable[[Tensor, Tensor], Tensor]  # x [N, C, H, W], t [N] -> velocity

BETA_MIN, BETA_MAX = 0.1, 20.0  # of the variance-preserving path (Song et al. 2021b, appendix C)


class Coefficients(NamedTuple):
    """Of a path at some times, each broadcastable to pictures."""

    alpha: Tensor  # factor of the data
    sigma: Tensor  # factor of the noise
    d_alpha: Tensor  # their derivatives by time
    d_sigma: Tensor

    @property
    def ratio(self) -> Tensor:
        """d_alpha / alpha: the data's rate of growth."""
        return self.d_alpha / self.alpha

    @property
    def diffusion(self) -> Tensor:
        """Half the variance that the path's own noise gains per unit of time."""
        return self.ratio * self.sigma**2 - self.sigma * self.d_sigma

    def drift(self, x: Tensor) -> Tensor:
        """The drift of the process from data to noise."""
        return -self.ratio * x

    def between(self, noise: Tensor, data: Tensor) -> tuple[Tensor, Tensor]:
        """The point x_t, and its velocity."""
        return self.alpha * data + self.sigma * noise, self.d_alpha * data + self.d_sigma * noise

    def score(self, velocity: Tensor, x: Tensor) -> Tensor:
        """The gradient of the log density at x, of the velocity there (Ma et al. 2024, equation 9)."""
        r = self.alpha / self.d_alpha
        return (r * velocity - x) / (self.sigma**2 - r * self.d_sigma * self.sigma)

    def noise(self, velocity: Tensor, x: Tensor) -> Tensor:
        """The noise in x, of the velocity there."""
        r = self.alpha / self.d_alpha
        return (r * velocity - x) / (r * self.d_sigma - self.sigma)

    def velocity(self, score: Tensor, x: Tensor) -> Tensor:
        """The velocity at x, of the score there."""
        return self.diffusion * score - self.drift(x)


def coefficients(path: Path, t: Tensor, dimensions: int = 4) -> Coefficients:
    """The coefficients of a path at times t [N], shaped for features of so many dimensions.

    "Linear": t and 1 - t; "GVP": sin and cos of pi t / 2; "VP": the path of DDPM in continuous time.
    """
    t = t.reshape(-1, *[1] * (dimensions - 1))
    if path == "Linear":
        return Coefficients(t, 1 - t, torch.ones_like(t), -torch.ones_like(t))
    if path == "GVP":
        sin, cos = torch.sin(math.pi / 2 * t), torch.cos(math.pi / 2 * t)
        return Coefficients(sin, cos, math.pi / 2 * cos, -math.pi / 2 * sin)
    left = 1 - t
    alpha = torch.exp(-(left**2) * (BETA_MAX - BETA_MIN) / 4 - BETA_MIN * left / 2)
    sigma = (1 - alpha**2).sqrt()
    d_alpha = alpha * (left * (BETA_MAX - BETA_MIN) + BETA_MIN) / 2
    return Coefficients(alpha, sigma, d_alpha, -alpha * d_alpha / sigma)


FORMS: dict[str, Callable[[Coefficients, Tensor], Tensor]] = {  # how much noise an SDE adds on the way
    "SBDM": lambda at, t: at.diffusion,
    "sigma": lambda at, t: at.sigma,
    "linear": lambda at, t: 1 - t,
    "decreasing": lambda at, t: 0.25 * (torch.cos(math.pi * t) + 1) ** 2,
    "increasing-decreasing": lambda at, t: torch.sin(math.pi * t) ** 2,
}


def loss(output: Tensor, noise: Tensor, data: Tensor, at: Coefficients, kind: Predicted, weight: Weight = "") -> Tensor:
    """The squared error of a prediction at x_t, mean over each sample [N] (Ma et al. 2024, section 2.2)."""
    w = torch.ones_like(at.sigma)
    if weight:
        w = (at.diffusion / at.sigma) ** 2 if weight == "velocity" else at.diffusion / at.sigma**2
    if kind == "velocity":
        wrong = output - at.between(noise, data)[1]
    else:
        wrong = output - noise if kind == "noise" else output * at.sigma + noise
    return (w * wrong.square()).flatten(1).mean(1)


def ode(field: Field, x: Tensor, times: Tensor, second_order: bool = False) -> Iterator[Tensor]:
    """Euler or Heun steps of dx = velocity dt along ascending times [K]; yields K - 1 times."""
    for t, after in itertools.pairwise(times):
        slope, h = field(x, t.expand(len(x))), after - t
        if second_order:
            slope = 0.5 * (slope + field(x + h * slope, after.expand(len(x))))
        x = x + h * slope
        yield x


def sde(
    field: Field,
    x: Tensor,
    times: Tensor,
    path: Path,
    noise: Callable[[int], Tensor],
    form: str = "sigma",
    second_order: bool = False,
    last: Last = "Mean",
    last_size: float = 0.04,
) -> Iterator[Tensor]:
    """Steps of dx = (velocity + w score) dt + sqrt(2 w) dW (Ma et al. 2024, equation 7).

    Args:
        field: the velocity of a network.
        x: noise [N, C, H, W].
        times: ascending [K]; K - 1 steps with noise, then one last step of `last_size` without.
        path: whose velocity it is.
        noise: normal numbers for each step.
        form: of w, a name in `FORMS`.
        second_order: Heun's steps, otherwise those of Euler and Maruyama.
        last: "Mean": without the noise; "Euler": along the velocity; "Tweedie": the expected data.
    """

    def forces(x: Tensor, t: Tensor) -> tuple[Coefficients, Tensor, Tensor, Tensor]:
        at = coefficients(path, t.expand(len(x)), x.ndim)
        velocity = field(x, t.expand(len(x)))
        score = at.score(velocity, x)
        w = FORMS[form](at, t.reshape(-1, *[1] * (x.ndim - 1)))
        return at, velocity, score, w

    for step, (t, after) in enumerate(itertools.pairwise(times)):
        h = after - t
        _, velocity, score, w = forces(x, t)
        kicked = x + (2 * w * h).sqrt() * noise(step)
        if not second_order:
            x = kicked + h * (velocity + w * score)
        else:
            _, velocity, score, w = forces(kicked, t)
            first = velocity + w * score
            _, velocity, score, w = forces(kicked + h * first, after)
            x = kicked + h / 2 * (first + velocity + w * score)
        yield x
    at, velocity, score, w = forces(x, times[-1])
    if last == "Mean":
        yield x + (velocity + w * score) * last_size
    elif last == "Euler":
        yield x + velocity * last_size
    else:
        yield x / at.alpha + at.sigma**2 / at.alpha * score
