"""The activations, and the curve y = clamp(gain * act(u), -clamp, +clamp) with its derivatives, in plain PyTorch.

`activations.h` says the same to compilers. Where |y| has reached the clamp the derivatives are zero.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

Formula = Callable[[Tensor, float], Tensor]  # of the input and alpha
Curve = tuple[str, float, float, float | None]  # activation, alpha, gain and clamp: all that makes y of u


@dataclass(frozen=True)
class Activation:
    """One row of the activation table."""

    function: Formula
    slope: Formula  # the derivative of the function
    curvature: Formula  # the derivative of the slope
    gain: float  # default gain
    alpha: float = 0.0  # default slope parameter; 0 where the function has none
    homogeneous: bool = False  # act(k * x) = k * act(x) for every k >= 0: two straight lines


def _relu_slope(x: Tensor, alpha: float) -> Tensor:
    return torch.ops.aten.threshold_backward(torch.ones_like(x), x, 0)


def _lrelu_slope(x: Tensor, alpha: float) -> Tensor:
    return torch.ops.aten.leaky_relu_backward(torch.ones_like(x), x, alpha, False)


def _no_curvature(x: Tensor, alpha: float) -> Tensor:
    return torch.zeros_like(x)


def _tanh_slope(x: Tensor, alpha: float) -> Tensor:
    return 1 - x.tanh().square()


def _tanh_curvature(x: Tensor, alpha: float) -> Tensor:
    return -2 * x.tanh() * _tanh_slope(x, alpha)


def _sigmoid(x: Tensor, alpha: float) -> Tensor:
    return x.sigmoid()


def _sigmoid_slope(x: Tensor, alpha: float) -> Tensor:
    return x.sigmoid() * (-x).sigmoid()


def _sigmoid_curvature(x: Tensor, alpha: float) -> Tensor:
    return _sigmoid_slope(x, alpha) * (1 - 2 * x.sigmoid())


def _elu_slope(x: Tensor, alpha: float) -> Tensor:
    return x.clamp(max=0).exp()


def _elu_curvature(x: Tensor, alpha: float) -> Tensor:
    return _elu_slope(x, alpha) * (x <= 0)


_SELU_SCALE, _SELU_SLOPE = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017


def _selu_slope(x: Tensor, alpha: float) -> Tensor:
    return _SELU_SCALE * torch.where(x > 0, 1.0, _SELU_SLOPE * _elu_slope(x, alpha))


def _selu_curvature(x: Tensor, alpha: float) -> Tensor:
    return _SELU_SCALE * _SELU_SLOPE * _elu_curvature(x, alpha)


def _softplus(x: Tensor, alpha: float) -> Tensor:
    return x.clamp(min=0) + (-x.abs()).exp().log1p()


def _swish_slope(x: Tensor, alpha: float) -> Tensor:
    return x.sigmoid() * (1 + x * (-x).sigmoid())


def _swish_curvature(x: Tensor, alpha: float) -> Tensor:
    return _sigmoid_slope(x, alpha) * (2 + x * (1 - 2 * x.sigmoid()))


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(lambda x, _: x, lambda x, _: torch.ones_like(x), _no_curvature, 1.0, 0.0, True),
    "relu": Activation(lambda x, _: F.relu(x), _relu_slope, _no_curvature, sqrt(2), 0.0, True),
    "lrelu": Activation(F.leaky_relu, _lrelu_slope, _no_curvature, sqrt(2), 0.2, True),
    "tanh": Activation(lambda x, _: x.tanh(), _tanh_slope, _tanh_curvature, 1.0),
    "sigmoid": Activation(_sigmoid, _sigmoid_slope, _sigmoid_curvature, 1.0),
    "elu": Activation(lambda x, _: F.elu(x), _elu_slope, _elu_curvature, 1.0),
    "selu": Activation(lambda x, _: F.selu(x), _selu_slope, _selu_curvature, 1.0),
    "softplus": Activation(_softplus, _sigmoid, _sigmoid_slope, 1.0),
    "swish": Activation(lambda x, _: F.silu(x), _swish_slope, _swish_curvature, sqrt(2)),
}


def resolve(act: str, alpha: float | None, gain: float | None, clamp: float | None) -> Curve:
    """Replaces None by the table's numbers, but for the clamp, where it means no limit.

    Raises:
        ValueError: for an activation that is not in the table, or a negative limit.
    """
    row = ACTIVATIONS.get(act)
    if row is None:
        raise ValueError(f"activation {act!r} is not one of {', '.join(ACTIVATIONS)}")
    if clamp is not None and clamp < 0:
        raise ValueError(f"clamp is {clamp}, but a limit of absolute values is 0 or more")
    return act, row.alpha if alpha is None else alpha, row.gain if gain is None else gain, clamp


def tells_slope(curve: Curve) -> bool:
    """Whether the output of a curve tells its derivative: gain * y has the sign of u."""
    act, alpha, _, _ = curve
    return ACTIVATIONS[act].homogeneous and (act != "lrelu" or alpha >= 0)


def is_straight(curve: Curve) -> bool:
    """Whether the derivative of a curve is the same everywhere."""
    return curve[0] == "linear" and curve[3] is None


def computing_type(dtype: torch.dtype) -> torch.dtype:
    """The type in which numbers of a type are computed with, to be rounded once."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def value(u: Tensor, curve: Curve) -> Tensor:
    """y, the curve at u."""
    act, alpha, gain, clamp = curve
    y = ACTIVATIONS[act].function(u, alpha)
    y = y if gain == 1 else y * gain
    return y if clamp is None else y.clamp(-clamp, clamp)


def slope(u: Tensor, curve: Curve) -> Tensor:
    """The derivative of y at u."""
    return _derivative(ACTIVATIONS[curve[0]].slope, u, curve)


def curvature(u: Tensor, curve: Curve) -> Tensor:
    """The second derivative of y at u."""
    return _derivative(ACTIVATIONS[curve[0]].curvature, u, curve)


def slope_from_output(y: Tensor, curve: Curve) -> Tensor:
    """The derivative of y where the output tells it, in the type that computes with y."""
    act, alpha, gain, clamp = curve
    derivative = ACTIVATIONS[act].slope(y.to(computing_type(y.dtype)) * gain, alpha) * gain
    return derivative if clamp is None else _zero_beyond(clamp, y, derivative)


def _derivative(formula: Formula, u: Tensor, curve: Curve) -> Tensor:
    act, alpha, gain, clamp = curve
    derivative = formula(u, alpha) * gain
    return derivative if clamp is None else _zero_beyond(clamp, ACTIVATIONS[act].function(u, alpha) * gain, derivative)


def _zero_beyond(clamp: float, y: Tensor, derivative: Tensor) -> Tensor:
    # The clamp as numbers of y's type are rounded, so that an output at the limit is known again.
    limit = torch.tensor(clamp, dtype=y.dtype).item()
    return torch.ops.aten.hardtanh_backward(derivative, y.to(derivative.dtype), -limit, limit)
