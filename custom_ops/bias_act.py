"""Bias, activation, gain and clamp as one operation; with scale and noise before them, what follows a convolution.

    bias_act:        y = clamp(gain * act(x + b), -clamp, +clamp)
    scale_bias_act:  y = clamp(gain * act(x * scale + noise + b), -clamp, +clamp)

The default gain of an activation keeps the variance of a standard normal input near one (He et al. 2015), so that
a layer with equalised learning rate (Karras et al. 2018, section 4.1) neither grows nor shrinks its signal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """One row of the activation table."""

    function: Callable[[Tensor, float], Tensor]  # (x, alpha) -> y
    alpha: float  # default slope parameter; 0 where the function has none
    gain: float  # default gain
    homogeneous: bool  # act(k * x) = k * act(x) for every k >= 0


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(lambda x, _: x, 0.0, 1.0, True),
    "relu": Activation(lambda x, _: F.relu(x), 0.0, sqrt(2), True),
    "lrelu": Activation(F.leaky_relu, 0.2, sqrt(2), True),
    "tanh": Activation(lambda x, _: torch.tanh(x), 0.0, 1.0, False),
    "sigmoid": Activation(lambda x, _: torch.sigmoid(x), 0.0, 1.0, False),
    "elu": Activation(lambda x, _: F.elu(x), 0.0, 1.0, False),
    "selu": Activation(lambda x, _: F.selu(x), 0.0, 1.0, False),
    "softplus": Activation(lambda x, _: F.softplus(x), 0.0, 1.0, False),
    "swish": Activation(lambda x, _: F.silu(x), 0.0, sqrt(2), False),
}


def bias_act(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Adds a bias, applies an activation, scales and clamps.

    Args:
        x: input of any shape and floating type.
        b: bias of length x.shape[dim], cast to the type of x; None adds nothing.
        dim: the dimension of x that the bias runs along.
        act: a name in `ACTIVATIONS`.
        alpha: slope of `lrelu` below zero; None takes the table's.
        gain: factor after the activation; None takes the table's.
        clamp: limit of the absolute output, >= 0; None sets no limit.

    Returns:
        A tensor of the shape, type and memory format of x.

    Raises:
        ValueError: for an activation that is not in the table, or a bias or limit that does not fit.
    """
    if b is not None and (b.ndim != 1 or b.shape[0] != x.shape[dim]):
        raise ValueError(f"a bias of shape {tuple(b.shape)} does not fit dimension {dim} of an input {tuple(x.shape)}")
    if b is not None:
        b = b.reshape([-1 if d == dim % x.ndim else 1 for d in range(x.ndim)])
    return _activate(lambda factor: _scaled_sum(x, b, factor), act, alpha, gain, clamp)


def scale_bias_act(
    x: Tensor,
    scale: Tensor | None = None,
    noise: Tensor | None = None,
    b: Tensor | None = None,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Scales every channel of every sample, adds noise and bias, then does as `bias_act`.

    Args:
        x: input [N, C, H, W].
        scale: factors [N, C] in any floating type; None scales nothing.
        noise: [H, W] or [N, 1, H, W] in any floating type; None adds none.
        b: bias [C]; None adds none.
        act, alpha, gain, clamp: as for `bias_act`.

    Returns:
        A tensor of the shape, type and memory format of x.

    Raises:
        ValueError: as `bias_act`.
    """
    N, C, H, W = x.shape
    if (scale is not None and scale.shape != (N, C)) or (b is not None and b.shape != (C,)):
        shapes = [None if t is None else tuple(t.shape) for t in (scale, b)]
        raise ValueError(f"a scale {shapes[0]} and a bias {shapes[1]} do not fit an input {tuple(x.shape)}")
    if noise is not None and noise.shape not in ((H, W), (N, 1, H, W)):
        raise ValueError(f"noise {tuple(noise.shape)} does not fit an input {tuple(x.shape)}")
    b = None if b is None else b[:, None, None]

    def before(factor: float) -> Tensor:
        y = _scaled_sum(x, b, factor) if scale is None else _scaled_product(x, scale[:, :, None, None], b, factor)
        return y if noise is None else y + (noise * factor).to(x.dtype)

    return _activate(before, act, alpha, gain, clamp)


def _activate(
    before: Callable[[float], Tensor], act: str, alpha: float | None, gain: float | None, clamp: float | None
) -> Tensor:
    """clamp(gain * act(before)), where `before(k)` gives k times the activation's input.

    Where the activation lets it, the gain rides on the additions before it: one pass over memory less.
    """
    if act not in ACTIVATIONS:
        raise ValueError(f"activation {act!r} is not one of {', '.join(ACTIVATIONS)}")
    if clamp is not None and clamp < 0:
        raise ValueError(f"clamp is {clamp}, but a limit of absolute values is 0 or more")
    row = ACTIVATIONS[act]
    slope = row.alpha if alpha is None else float(alpha)
    factor = row.gain if gain is None else float(gain)
    if row.homogeneous and factor >= 0:
        y = row.function(before(factor), slope)
    else:
        y = row.function(before(1.0), slope)
        y = y if factor == 1 else y * factor
    return y if clamp is None else y.clamp(-clamp, clamp)


def _scaled_sum(x: Tensor, b: Tensor | None, factor: float) -> Tensor:
    """factor * (x + b) in one pass over x."""
    if b is None:
        return x if factor == 1 else x * factor
    return torch.add((b if factor == 1 else b * factor).to(x.dtype), x, alpha=factor)


def _scaled_product(x: Tensor, scale: Tensor, b: Tensor | None, factor: float) -> Tensor:
    """factor * (x * scale + b) in one pass over x."""
    scale = (scale if factor == 1 else scale * factor).to(x.dtype)
    return x * scale if b is None else torch.addcmul((b * factor).to(x.dtype), x, scale)
