"""How pictures become noise: x_t = alpha x_0 + sigma eps at a row of levels, and the posterior between two of them.

Index k counts levels from the least noise (0) to the most. Level -1 is the clean picture: alpha 1, sigma 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Literal, NamedTuple

import torch

Schedule = Literal["linear", "cosine"]

STEPS = 1000  # of the published processes
LARGEST_BETA = 0.999


def betas(schedule: Schedule, steps: int = STEPS) -> torch.Tensor:
    """The variances of the steps of a process, float64 [steps].

    "linear": Ho et al. 2020, section 4, scaled to the number of steps. "cosine": Nichol and Dhariwal 2021, equation 17.

    Raises:
        ValueError: fewer than 20 linear steps, whose last variance would exceed 1.
    """
    if schedule == "linear":
        if steps < 20:
            raise ValueError(f"a linear schedule has 20 steps or more, not {steps}")
        return torch.linspace(0.1 / steps, 20 / steps, steps, dtype=torch.float64, device="cpu")
    left = [math.cos((i / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(steps + 1)]
    kept = [min(1 - after / before, LARGEST_BETA) for before, after in pairwise(left)]
    return torch.tensor(kept, dtype=torch.float64, device="cpu")


def kept_steps(text: str, steps: int = STEPS) -> list[int]:
    """The steps of a shorter process, ascending.

    Args:
        text: "" keeps all; "250" spreads 250 steps evenly, both ends included; "50,20,5" does so in that many equal
            sections; "ddim25" takes every 40th of 1000, from 0 (Song et al. 2021), and never visits the noisiest.
        steps: of the whole process.

    Raises:
        ValueError: no such steps.
    """
    if not text:
        return list(range(steps))
    try:
        if text.startswith("ddim"):
            count = int(text[4:])
            stride = next(s for s in range(1, steps + 1) if len(range(0, steps, s)) == count)
            return list(range(0, steps, stride))
        counts = [int(part) for part in text.split(",")]
    except (ValueError, StopIteration):
        raise ValueError(f"{text!r} does not choose among {steps} steps: give a number such as 250") from None
    sizes = [steps // len(counts) + (i < steps % len(counts)) for i in range(len(counts))]
    if any(not 1 <= count <= size for count, size in zip(counts, sizes, strict=True)):
        raise ValueError(f"{text!r} does not choose among {steps} steps: give 1 to {min(sizes)} for each section")
    starts = [0, *accumulate(sizes)]
    return [k for start, size, count in zip(starts, sizes, counts, strict=False) for k in _spread(start, size, count)]


def _spread(start: int, size: int, count: int) -> list[int]:
    stride, place, kept = (size - 1) / (count - 1) if count > 1 else 1.0, 0.0, []
    for _ in range(count):  # sums round as those of the published programs do
        kept.append(start + round(place))
        place += stride
    return kept


class Posterior(NamedTuple):
    """q(x_{k-1} | x_k, x_0) is normal with this mean, per sample broadcastable to pictures."""

    mean: torch.Tensor
    variance: torch.Tensor
    log_variance: torch.Tensor  # at level 0, where the variance is 0, that of level 1


@dataclass(frozen=True)
class Process:
    """A row of noise levels.

    Attributes:
        alpha, sigma: factors of the picture and of the noise, float64 [K].
        t: what the network is told of each level, [K].
        d_alpha, d_sigma: their derivatives by the path's time, float64 [K], for predictions of a velocity.
    """

    alpha: torch.Tensor
    sigma: torch.Tensor
    t: torch.Tensor
    d_alpha: torch.Tensor
    d_sigma: torch.Tensor

    @classmethod
    def of_betas(cls, betas: torch.Tensor, t: torch.Tensor | None = None) -> Process:
        """The process whose step k adds noise of variance betas[k]; alpha^2 + sigma^2 = 1."""
        alphas_cumprod = (1 - betas).cumprod(0)
        alpha, sigma = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
        # v = alpha eps - sigma x_0 is the derivative by the angle of (alpha, sigma) (Salimans and Ho 2022, appendix D).
        return cls(alpha, sigma, torch.arange(len(betas), device="cpu") if t is None else t, -sigma, alpha)

    @classmethod
    def gaussian(cls, schedule: Schedule = "linear", steps: int = STEPS) -> Process:
        """A published process of discrete steps."""
        return cls.of_betas(betas(schedule, steps))

    @classmethod
    def straight(cls, levels: torch.Tensor) -> Process:
        """The straight path x = (1 - u) x_0 + u eps of flow matching, at noise levels u in (0, 1], ascending, [K].

        The network is told 1000 u (Lipman et al. 2023, equation 22, with sigma_min 0).
        """
        u = levels.double()
        return cls(1 - u, u, u * STEPS, -torch.ones_like(u), torch.ones_like(u))

    def to(self, device: torch.device) -> Process:
        """The same levels on a device, float32 on one without doubles."""
        dtype = torch.float32 if device.type == "mps" else self.alpha.dtype
        own = (self.alpha, self.sigma, self.d_alpha, self.d_sigma)
        alpha, sigma, d_alpha, d_sigma = (values.to(device, dtype) for values in own)
        return Process(alpha, sigma, self.t.to(device), d_alpha, d_sigma)

    def __len__(self) -> int:
        return len(self.alpha)

    def respaced(self, steps: Sequence[int]) -> Process:
        """The process that visits only these levels, ascending. The network is told the same of each."""
        at = torch.tensor(steps, device=self.alpha.device)
        return Process(*(getattr(self, name)[at] for name in ("alpha", "sigma", "t", "d_alpha", "d_sigma")))

    @cached_property
    def alpha_before(self) -> torch.Tensor:
        """alpha of level k - 1, [K]."""
        return torch.cat([torch.ones_like(self.alpha[:1]), self.alpha[:-1]])

    @cached_property
    def sigma_before(self) -> torch.Tensor:
        """sigma of level k - 1, [K]."""
        return torch.cat([torch.zeros_like(self.sigma[:1]), self.sigma[:-1]])

    @cached_property
    def beta(self) -> torch.Tensor:
        """The variance of the noise that step k adds, [K]."""
        return self.sigma**2 - (self.alpha / self.alpha_before) ** 2 * self.sigma_before**2

    @cached_property
    def posterior_variance(self) -> torch.Tensor:
        """The variance of q(x_{k-1} | x_k, x_0), [K]; 0 at level 0."""
        return self.beta * self.sigma_before**2 / self.sigma**2

    @cached_property
    def posterior_log_variance(self) -> torch.Tensor:
        """Its logarithm; level 0 has that of level 1 (in a process of one level, that of its beta)."""
        log = self.posterior_variance.log()
        return torch.cat([log[1:2] if len(self) > 1 else self.beta[:1].log(), log[1:]])

    @cached_property
    def posterior_mean_x0(self) -> torch.Tensor:
        """Factor of x_0 in the posterior's mean, [K]."""
        return self.alpha_before * self.beta / self.sigma**2

    @cached_property
    def posterior_mean_xt(self) -> torch.Tensor:
        """Factor of x_k in the posterior's mean, [K]."""
        return self.alpha / self.alpha_before * self.sigma_before**2 / self.sigma**2

    def noised(self, x0: torch.Tensor, k: torch.Tensor | int, noise: torch.Tensor) -> torch.Tensor:
        """x_k of pictures (Ho et al. 2020, equation 4)."""
        return at(self.alpha, k, x0) * x0 + at(self.sigma, k, x0) * noise

    def posterior(self, x0: torch.Tensor, x: torch.Tensor, k: torch.Tensor | int) -> Posterior:
        """q(x_{k-1} | x_k, x_0) (Ho et al. 2020, equations 6 and 7, for any alpha and sigma)."""
        mean = at(self.posterior_mean_x0, k, x) * x0 + at(self.posterior_mean_xt, k, x) * x
        variance, log_variance = (at(v, k, x) for v in (self.posterior_variance, self.posterior_log_variance))
        return Posterior(mean, variance, log_variance)


def at(values: torch.Tensor, k: torch.Tensor | int, like: torch.Tensor) -> torch.Tensor:
    """The values of levels k, [N, 1, 1, 1] (or [1, 1, 1, 1]), of the type and device of `like`."""
    return values.to(like.device)[k].to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))
