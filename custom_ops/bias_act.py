"""Bias, activation, gain and clamp in one pass over memory, also after a scale per channel and noise.

    bias_act:        y = clamp(gain * act(x + b), -clamp, clamp)
    scale_bias_act:  y = clamp(gain * act(x * scale + noise * strength + b), -clamp, clamp)

The activation's default gain keeps the variance of a standard normal input near one (He et al. 2015).
"""

from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from custom_ops import build
from custom_ops.scale_bias_act import Curve, computing_type, reference


class Activation(NamedTuple):
    """An activation of two straight lines."""

    alpha: float  # slope below zero
    gain: float  # default gain


ACTIVATIONS = {"linear": Activation(1.0, 1.0), "lrelu": Activation(0.2, sqrt(2))}


def bias_act(
    x: Tensor, b: Tensor | None = None, act: str = "linear", gain: float | None = None, clamp: float | None = None
) -> Tensor:
    """Add a bias, apply an activation, scale and clamp.

    Args:
        x: input [N, C, ...] of any floating dtype.
        b: bias [C] of any floating dtype. None adds no bias.
        act: "linear" or "lrelu".
        gain: factor after the activation. None means the activation's own.
        clamp: limit of the absolute output, >= 0. None means no limit. The derivative is zero at the limit.

    Returns:
        A tensor of the shape, dtype and memory format of x.

    Raises:
        ValueError: for a bias of the wrong shape, or a negative clamp.
    """
    if b is not None and b.shape != x.shape[1:2]:
        raise ValueError(f"a bias of shape {tuple(b.shape)} does not fit an input {tuple(x.shape)}")
    curve = _curve(act, gain, clamp)
    if b is None and curve == (1.0, 1.0, None):
        return x
    return _call(x, None, None, b if b is None else b.to(computing_type(x.dtype)), curve)


def scale_bias_act(
    x: Tensor,
    scale: Tensor | None = None,
    noise: Tensor | None = None,
    b: Tensor | None = None,
    act: str = "linear",
    gain: float | None = None,
    clamp: float | None = None,
    strength: Tensor | None = None,
) -> Tensor:
    """Scale every channel of every sample, add noise and bias, then do as `bias_act`.

    Scale, noise, strength and bias may have any floating dtype. They are not rounded to the dtype of x.

    Args:
        x: input [N, C, H, W].
        scale: factors [N, C]. None means one.
        noise: [H, W] or [N, 1, H, W]. None adds no noise.
        b: bias [C]. None adds no bias.
        act, gain, clamp: as for `bias_act`.
        strength: factor of the noise, a scalar tensor. None means one.

    Returns:
        A tensor of the shape, dtype and memory format of x.

    Raises:
        ValueError: for arguments of the wrong shape, or a negative clamp.
    """
    N, C, H, W = x.shape
    if (scale is not None and scale.shape != (N, C)) or (b is not None and b.shape != (C,)):
        shapes = [None if t is None else tuple(t.shape) for t in (scale, b)]
        raise ValueError(f"a scale {shapes[0]} and a bias {shapes[1]} do not fit an input {tuple(x.shape)}")
    if noise is not None and noise.shape != ((H, W) if noise.ndim == 2 else (N, 1, H, W)):
        raise ValueError(f"noise {tuple(noise.shape)} does not fit an input {tuple(x.shape)}")
    if scale is None and noise is None:
        return bias_act(x, b, act, gain, clamp)
    wide = computing_type(x.dtype)
    if noise is not None:
        noise = noise.to(wide) if noise.ndim == 4 else noise.to(wide)[None, None]
        noise = noise if strength is None else noise * strength.to(wide)
    scale, b = (None if t is None else t.to(wide) for t in (scale, b))
    return _call(x, scale, noise, b, _curve(act, gain, clamp))


def _curve(act: str, gain: float | None, clamp: float | None) -> Curve:
    if clamp is not None and clamp < 0:
        raise ValueError(f"clamp is {clamp}, expected 0 or more")
    row = ACTIVATIONS[act]
    return row.alpha, row.gain if gain is None else gain, clamp


def _call(x: Tensor, scale: Tensor | None, noise: Tensor | None, b: Tensor | None, curve: Curve) -> Tensor:
    if torch.compiler.is_exporting():
        return reference(x, scale, noise, b, *curve)
    if not torch.compiler.is_compiling():
        build.load(x.device)
    return torch.ops.custom_ops.scale_bias_act(x, scale, noise, b, *curve)
