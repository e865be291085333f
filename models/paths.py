"""Paths through latents: functions of time that pass the given keys, one key per unit of time.

At a whole time t a path equals key t bit for bit, so that the frame is the key's own picture. Letters: K number of
keys, D width of a latent, t time, from 0 to K - 1, or in a loop to K, which is the first key again.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Path = Callable[[float], Tensor]


def through(keys: Tensor, between: Callable[[Tensor, Tensor, float], Tensor] = torch.lerp) -> Path:
    """Ways between neighboring keys [K, ..., D], and from the last to the first: `torch.lerp` or `slerp`."""

    def at(t: float) -> Tensor:
        i = math.floor(t)
        return _key(keys, t) if t == i else between(_key(keys, i), _key(keys, i + 1), t - i)

    return at


def spline(keys: Tensor, loop: bool) -> Path:
    """The cubic spline through the keys [K, ...], K at least 2, with a continuous second derivative.

    In a loop it is periodic; otherwise its ends have no curvature (natural).
    """
    from scipy.interpolate import CubicSpline  # takes half a second

    knots = torch.cat([keys, keys[:1]]) if loop else keys
    curve = CubicSpline(range(len(knots)), knots.cpu().double().numpy(), bc_type="periodic" if loop else "natural")
    return lambda t: _key(keys, t) if t == int(t) else torch.from_numpy(curve(t)).to(keys)


def slerp(a: Tensor, b: Tensor, t: float | Tensor) -> Tensor:
    """The point t of the way from a to b [..., D] on a great circle (Shoemake 1985, section 3.3):

        sin((1 - t) angle) / sin(angle) * a + sin(t angle) / sin(angle) * b    for a, b of length 1

    The length changes linearly. Parallel and opposite vectors are joined by a straight line.
    """
    start, end = a.cpu().double(), b.cpu().double()  # on the CPU: not every device has float64
    t = t.cpu().double() if isinstance(t, Tensor) else t
    length_a, length_b = start.norm(dim=-1, keepdim=True), end.norm(dim=-1, keepdim=True)
    unit_a, unit_b = start / length_a, end / length_b
    # More exact than the inverse cosine, above all for small angles (Kahan 2006).
    angle = 2 * torch.atan2((unit_a - unit_b).norm(dim=-1, keepdim=True), (unit_a + unit_b).norm(dim=-1, keepdim=True))
    sine = angle.sin()
    turned = (((1 - t) * angle).sin() * unit_a + (t * angle).sin() * unit_b) / sine
    turned = turned * torch.lerp(length_a, length_b, t)
    return torch.where(sine > 1e-6, turned, torch.lerp(start, end, t)).to(a)


def times(keys: int, frames: int, loop: bool) -> list[float]:
    """The time of every frame, with `frames` per key: keys * frames in a loop, else (keys - 1) * frames + 1."""
    return [n / frames for n in range(keys * frames if loop else (keys - 1) * frames + 1)]


def ease(t: float) -> float:
    """Time that slows to a stop at every key: its fraction f becomes 3 f^2 - 2 f^3."""
    f = t - math.floor(t)
    return math.floor(t) + f * f * (3 - 2 * f)


def _key(keys: Tensor, t: float) -> Tensor:
    return keys[int(t) % len(keys)]
