"""Paths through latents: functions of time that come by the given keys, one key in each unit of time.

At a whole time a path is its key to the last bit, so that the frame there is the key's own picture. Letters: K number
of keys, D width of a latent, t time: 0 .. K - 1, and in a loop on to K, where the first key comes again.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Path = Callable[[float], Tensor]


def linear(keys: Tensor) -> Path:
    """Straight lines from each of the keys [K, ...] to the next, and from the last to the first."""
    return _stretches(keys, torch.lerp)


def spherical(keys: Tensor) -> Path:
    """Great circles from each of the keys [K, ..., D] to the next, and from the last to the first: `slerp`."""
    return _stretches(keys, slerp)


def spline(keys: Tensor, loop: bool) -> Path:
    """The cubic spline through the keys [K, ...], K at least 2: its second derivative is continuous, so nothing jolts.

    In a loop it is periodic, and as smooth where it begins anew; otherwise its ends are straight (natural).
    """
    from scipy.interpolate import CubicSpline  # takes half a second, for which only splines shall wait

    knots = torch.cat([keys, keys[:1]]) if loop else keys
    curve = CubicSpline(range(len(knots)), knots.cpu().double().numpy(), bc_type="periodic" if loop else "natural")
    return lambda t: _key(keys, t) if t == int(t) else torch.from_numpy(curve(t)).to(keys)


def slerp(a: Tensor, b: Tensor, t: float | Tensor) -> Tensor:
    """The way from a to b [..., D] on a great circle, at constant angular speed (Shoemake 1985, section 3.3):

        sin((1 - t) angle) / sin(angle) * a + sin(t angle) / sin(angle) * b    for a, b of length 1

    The length goes evenly from a's to b's. Vectors of one direction, and opposite ones, between which no great circle
    is nearest, are joined by a straight line.
    """
    start, end = a.cpu().double(), b.cpu().double()  # on the CPU: not every device has float64
    t = t.cpu().double() if isinstance(t, Tensor) else t
    length_a, length_b = start.norm(dim=-1, keepdim=True), end.norm(dim=-1, keepdim=True)
    unit_a, unit_b = start / length_a, end / length_b
    # More exact than the cosine's inverse, of small angles most of all (Kahan 2006).
    angle = 2 * torch.atan2((unit_a - unit_b).norm(dim=-1, keepdim=True), (unit_a + unit_b).norm(dim=-1, keepdim=True))
    sine = angle.sin()
    turned = (((1 - t) * angle).sin() * unit_a + (t * angle).sin() * unit_b) / sine
    turned = turned * torch.lerp(length_a, length_b, t)
    return torch.where(sine > 1e-6, turned, torch.lerp(start, end, t)).to(a)


def times(keys: int, frames: int, loop: bool) -> list[float]:
    """The time of every frame, with `frames` from one key to the next.

    In a loop there are keys * frames, and the frame that would follow is the first. Otherwise the last frame is the
    last key: (keys - 1) * frames + 1.
    """
    return [n / frames for n in range(keys * frames if loop else (keys - 1) * frames + 1)]


def ease(t: float) -> float:
    """Time that stands still at every key: 3 f^2 - 2 f^3 of its fraction f."""
    f = t - math.floor(t)
    return math.floor(t) + f * f * (3 - 2 * f)


def _stretches(keys: Tensor, between: Callable[[Tensor, Tensor, float], Tensor]) -> Path:
    def at(t: float) -> Tensor:
        i = math.floor(t)
        return _key(keys, t) if t == i else between(_key(keys, i), _key(keys, i + 1), t - i)

    return at


def _key(keys: Tensor, t: float) -> Tensor:
    return keys[int(t) % len(keys)]
