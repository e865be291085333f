"""The activations of `bias_act`, in plain PyTorch.

A curve is y = clamp(gain * act(u), -clamp, clamp). Its derivative is zero where |y| has reached the clamp.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

Curve = tuple[str, float, float, float | None]  # activation, alpha, gain, clamp


@dataclass(frozen=True)
class Activation:
    """One row of the activation table."""

    function: Callable[[Tensor, float], Tensor]  # of the input and alpha
    gain: float  # default gain
    alpha: float = 0.0  # default slope below zero; unused by most activations
    homogeneous: bool = False  # act(k * x) = k * act(x) for every k >= 0: two straight lines


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(lambda x, _: x, 1.0, 0.0, True),
    "relu": Activation(lambda x, _: F.relu(x), sqrt(2), 0.0, True),
    "lrelu": Activation(F.leaky_relu, sqrt(2), 0.2, True),
    "tanh": Activation(lambda x, _: x.tanh(), 1.0),
    "sigmoid": Activation(lambda x, _: x.sigmoid(), 1.0),
    "elu": Activation(lambda x, _: F.elu(x), 1.0),
    "selu": Activation(lambda x, _: F.selu(x), 1.0),
    "softplus": Activation(lambda x, _: -F.logsigmoid(-x), 1.0),  # F.softplus is linear above 20
    "swish": Activation(lambda x, _: F.silu(x), sqrt(2)),
}


def resolve(act: str, alpha: float | None, gain: float | None, clamp: float | None) -> Curve:
    """A curve, with the table's alpha and gain in place of None. A clamp of None means no limit.

    Raises:
        ValueError: for an unknown activation or a negative clamp.
    """
    row = ACTIVATIONS.get(act)
    if row is None:
        raise ValueError(f"activation {act!r} is not one of {', '.join(ACTIVATIONS)}")
    if clamp is not None and clamp < 0:
        raise ValueError(f"clamp is {clamp}, but a limit of absolute values is 0 or more")
    return act, row.alpha if alpha is None else alpha, row.gain if gain is None else gain, clamp


def tells_slope(curve: Curve) -> bool:
    """Whether the output of a curve is enough to compute its slope: gain * y has the sign of u."""
    act, alpha, _, _ = curve
    return ACTIVATIONS[act].homogeneous and (act != "lrelu" or alpha >= 0)


def is_straight(curve: Curve) -> bool:
    """Whether the slope of a curve is the same everywhere."""
    return curve[0] == "linear" and curve[3] is None


def computing_type(dtype: torch.dtype) -> torch.dtype:
    """The dtype that sums and products of a dtype are computed in, to be rounded once."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def value(u: Tensor, curve: Curve) -> Tensor:
    """The curve at u. PyTorch's autograd differentiates it, any number of times."""
    act, alpha, gain, clamp = curve
    y = ACTIVATIONS[act].function(u, alpha)
    y = y if gain == 1 else y * gain
    return y if clamp is None else F.hardtanh(y, -clamp, clamp)  # slope 0 at the limit, where Tensor.clamp has 1


def slope_from_output(y: Tensor, curve: Curve) -> Tensor:
    """The slope of a curve that `tells_slope`, computed from its output, in the computing type of y."""
    act, alpha, gain, clamp = curve
    u = y.to(computing_type(y.dtype)) * gain
    slope = torch.ones_like(u)
    if act == "relu":
        slope = torch.ops.aten.threshold_backward(slope, u, 0)
    elif act == "lrelu":
        slope = torch.ops.aten.leaky_relu_backward(slope, u, alpha, False)
    slope = slope * gain
    if clamp is None:
        return slope
    limit = torch.tensor(clamp, dtype=y.dtype).item()  # rounded as y is, so that an output at the limit compares equal
    return torch.ops.aten.hardtanh_backward(slope, y.to(slope.dtype), -limit, limit)
