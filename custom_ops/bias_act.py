"""Bias, activation, gain and clamp as one operation.

    y = clamp(gain * act(x + b), -clamp, +clamp)

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
        gain: factor after the activation, >= 0; None takes the table's.
        clamp: limit of the absolute output, >= 0; None sets no limit.

    Returns:
        A tensor of the shape, type and memory format of x.

    Raises:
        ValueError: for an activation that is not in the table, or a bias or limit that does not fit.
    """
    if act not in ACTIVATIONS:
        raise ValueError(f"activation {act!r} is not one of {', '.join(ACTIVATIONS)}")
    if b is not None and (b.ndim != 1 or b.shape[0] != x.shape[dim]):
        raise ValueError(f"a bias of shape {tuple(b.shape)} does not fit dimension {dim} of an input {tuple(x.shape)}")
    if clamp is not None and clamp < 0:
        raise ValueError(f"clamp is {clamp}, but a limit of absolute values is 0 or more")
    row = ACTIVATIONS[act]
    slope = row.alpha if alpha is None else float(alpha)
    scale = row.gain if gain is None else float(gain)
    if row.homogeneous and scale >= 0:
        y = row.function(_scaled_sum(x, b, dim, scale), slope)  # the gain rides on the addition: one pass less
    else:
        y = row.function(_scaled_sum(x, b, dim, 1.0), slope)
        y = y if scale == 1 else y * scale
    return y if clamp is None else y.clamp(-clamp, clamp)


def _scaled_sum(x: Tensor, b: Tensor | None, dim: int, scale: float) -> Tensor:
    """scale * (x + b) in one pass over x."""
    if b is None:
        return x if scale == 1 else x * scale
    b = b.to(x.dtype).reshape([-1 if d == dim % x.ndim else 1 for d in range(x.ndim)])
    return torch.add(b if scale == 1 else b * scale, x, alpha=scale)
