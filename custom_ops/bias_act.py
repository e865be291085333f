"""Bias, activation, gain and clamp in one pass over memory, also after a scale per channel and noise.

    bias_act:        y = clamp(gain * act(x + b), -clamp, clamp)
    scale_bias_act:  y = clamp(gain * act(x * scale + noise * strength + b), -clamp, clamp)

The default gain of an activation keeps the variance of a standard normal input near one (He et al. 2015). Native
kernels compute linear, relu and lrelu, which every network of this project uses. PyTorch computes the others.
"""

import torch
from torch import Tensor

from custom_ops import build
from custom_ops.activations import Curve, computing_type, is_straight, resolve, tells_slope
from custom_ops.scale_bias_act import reference


def bias_act(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Add a bias, apply an activation, scale and clamp.

    Args:
        x: input of any shape and floating dtype.
        b: bias of length x.shape[dim] and any floating dtype. None adds no bias.
        dim: the dimension of x that the bias runs along.
        act: a name in `ACTIVATIONS`.
        alpha: slope of `lrelu` below zero. None means the table's value.
        gain: factor after the activation. None means the table's value.
        clamp: limit of the absolute output, >= 0. None means no limit. The derivative is zero at the limit.

    Returns:
        A tensor of the shape, dtype and memory format of x.

    Raises:
        ValueError: for an unknown activation, a bias of the wrong shape, or a negative clamp.
    """
    if b is not None and (b.ndim != 1 or b.shape[0] != x.shape[dim]):
        raise ValueError(f"a bias of shape {tuple(b.shape)} does not fit dimension {dim} of an input {tuple(x.shape)}")
    curve = resolve(act, alpha, gain, clamp)
    if b is None and is_straight(curve) and curve[2] == 1:
        return x
    b = b if b is None else b.to(computing_type(x.dtype))
    if x.ndim >= 2 and (b is None or dim == 1):
        return _call(x, None, None, b, curve)
    before = x.shape[: dim % x.ndim].numel() if b is not None else 1
    channels = x.shape[dim] if b is not None else 1
    after = x.shape[dim % x.ndim + 1 :].numel() if b is not None else x.numel()
    return _call(x.reshape(before, channels, after), None, None, b, curve).reshape(x.shape)


def scale_bias_act(
    x: Tensor,
    scale: Tensor | None = None,
    noise: Tensor | None = None,
    b: Tensor | None = None,
    act: str = "linear",
    alpha: float | None = None,
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
        act, alpha, gain, clamp: as for `bias_act`.
        strength: factor of the noise, a scalar tensor. None means one.

    Returns:
        A tensor of the shape, dtype and memory format of x.

    Raises:
        ValueError: for an unknown activation, arguments of the wrong shape, or a negative clamp.
    """
    N, C, H, W = x.shape
    if (scale is not None and scale.shape != (N, C)) or (b is not None and b.shape != (C,)):
        shapes = [None if t is None else tuple(t.shape) for t in (scale, b)]
        raise ValueError(f"a scale {shapes[0]} and a bias {shapes[1]} do not fit an input {tuple(x.shape)}")
    if noise is not None and noise.shape != ((H, W) if noise.ndim == 2 else (N, 1, H, W)):
        raise ValueError(f"noise {tuple(noise.shape)} does not fit an input {tuple(x.shape)}")
    curve = resolve(act, alpha, gain, clamp)
    if scale is None and noise is None:
        return bias_act(x, b, act=act, alpha=alpha, gain=gain, clamp=clamp)
    wide = computing_type(x.dtype)
    if noise is not None:
        noise = noise.to(wide) if noise.ndim == 4 else noise.to(wide)[None, None]
        noise = noise if strength is None else noise * strength.to(wide)
    scale, b = (None if t is None else t.to(wide) for t in (scale, b))
    return _call(x, scale, noise, b, curve)


def _call(x: Tensor, scale: Tensor | None, noise: Tensor | None, b: Tensor | None, curve: Curve) -> Tensor:
    if not torch.compiler.is_compiling():
        build.load(x.device)
    if torch.compiler.is_exporting():
        return reference(x, scale, noise, b, *curve)
    op = torch.ops.custom_ops.scale_bias_act.default
    if tells_slope(curve):
        return op(x, scale, noise, b, *curve)
    if scale is not None or noise is not None:
        x, b = op(x, scale, noise, b, "linear", 0.0, 1.0, None), None
    return reference(x, None, None, b, *curve)  # differentiated by PyTorch
