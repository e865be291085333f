"""Bias, activation, gain and clamp in one pass over memory:

    y = clamp(gain * act(x + b), -clamp, +clamp)

The default gain of an activation keeps the variance of a standard normal input near one (He et al. 2015), so that
a layer with equalised learning rate (Karras et al. 2018, section 4.1) neither grows nor shrinks its signal.

An activation of two straight lines keeps its output for the derivative, and not its input, whose memory is then free;
mostly the next layer keeps the output anyway. Such activations have derivatives of any order, the others of the first
two orders.
"""

from typing import Any

import torch
from torch import Tensor

from custom_ops import build
from custom_ops.activations import (
    computing_type,
    curvature,
    is_straight,
    resolve,
    slope,
    slope_from_output,
    tells_slope,
    value,
)

_CURVE = "str act, float alpha, float gain, float? clamp"

torch.library.define("custom_ops::bias_act", f"(Tensor x, Tensor? b, {_CURVE}) -> Tensor")
# saved: y where it tells the slope (any tensor like it where the slope is the same everywhere), x otherwise.
torch.library.define(
    "custom_ops::bias_act_backward",
    f"(Tensor dy, Tensor saved, Tensor? b, {_CURVE}, bool wants_db) -> (Tensor dx, Tensor db)",
)
# dy * ddx * the second derivative of y by x.
torch.library.define(
    "custom_ops::bias_act_curvature", f"(Tensor dy, Tensor ddx, Tensor x, Tensor? b, {_CURVE}) -> Tensor"
)


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
        b: bias of length x.shape[dim] in any floating type; None adds nothing.
        dim: the dimension of x that the bias runs along.
        act: a name in `ACTIVATIONS`.
        alpha: slope of `lrelu` below zero; None takes the table's.
        gain: factor after the activation; None takes the table's.
        clamp: limit of the absolute output, >= 0; None sets no limit.

    Returns:
        A tensor of the shape, type and memory format of x. Where the output is at the limit its derivative is zero.

    Raises:
        ValueError: for an activation that is not in the table, or a bias or limit that does not fit.
    """
    if b is not None and (b.ndim != 1 or b.shape[0] != x.shape[dim]):
        raise ValueError(f"a bias of shape {tuple(b.shape)} does not fit dimension {dim} of an input {tuple(x.shape)}")
    curve = resolve(act, alpha, gain, clamp)
    if b is None and is_straight(curve) and curve[2] == 1:
        return x
    load(x)
    if b is not None and b.dtype != computing_type(x.dtype):
        b = b.to(computing_type(x.dtype))
    op = reference if torch.compiler.is_exporting() else torch.ops.custom_ops.bias_act.default
    if x.ndim >= 2 and (b is None or dim == 1):
        return op(x, b, *curve)
    before = x.shape[: dim % x.ndim].numel() if b is not None else 1
    channels = x.shape[dim] if b is not None else 1
    after = x.shape[dim % x.ndim + 1 :].numel() if b is not None else x.numel()
    return op(x.reshape(before, channels, after), b, *curve).reshape(x.shape)


def load(x: Tensor) -> None:
    """Sees to it that native operators serve a tensor, where they can."""
    if not torch.compiler.is_compiling():
        build.load(x.device)


def layout(x: Tensor) -> torch.memory_format:
    """The memory format that outputs of the shape of x have: channels_last where x lies so and not otherwise too."""
    last = x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def output(y: Tensor, like: Tensor) -> Tensor:
    """A computed tensor as an output: in the type and memory format of `like`, and in memory of its own."""
    y = y.to(like.dtype).contiguous(memory_format=layout(like))
    return y.clone() if y is like else y


def along_channels(b: Tensor, x: Tensor) -> Tensor:
    """A vector [C] that broadcasts over x [N, C, ...]."""
    return b.reshape([-1] + [1] * (x.ndim - 2))


def sum_to_channels(x: Tensor) -> Tensor:
    """The sums of x [N, C, ...] over all but channels, in the type that computes with x."""
    return x.sum([d for d in range(x.ndim) if d != 1], dtype=computing_type(x.dtype))


def _sum(x: Tensor, b: Tensor | None) -> Tensor:
    x = x.to(computing_type(x.dtype))
    return x if b is None else x + along_channels(b, x)


def reference(x: Tensor, b: Tensor | None, *curve: Any) -> Tensor:
    return output(value(_sum(x, b), curve), x)


def reference_backward(
    dy: Tensor,
    saved: Tensor,
    b: Tensor | None,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
    wants_db: bool,
) -> tuple[Tensor, Tensor]:
    curve = (act, alpha, gain, clamp)
    if tells_slope(curve):
        d = dy * slope_from_output(saved, curve)
    else:
        d = (dy * slope(_sum(saved, b), curve)).to(dy.dtype)
    db = sum_to_channels(d) if wants_db else d.new_empty([0], dtype=computing_type(d.dtype))
    return output(d, saved), db


def reference_curvature(dy: Tensor, ddx: Tensor, x: Tensor, b: Tensor | None, *curve: Any) -> Tensor:
    return output(dy * (ddx * curvature(_sum(x, b), curve)), x)


@torch.library.register_fake("custom_ops::bias_act")
def _(x: Tensor, b: Tensor | None, *curve: Any) -> Tensor:
    return torch.empty_like(x, memory_format=layout(x))


@torch.library.register_fake("custom_ops::bias_act_backward")
def _(dy: Tensor, saved: Tensor, b: Tensor | None, *curve_and_wants_db: Any) -> tuple[Tensor, Tensor]:
    dx = torch.empty_like(saved, memory_format=layout(saved))
    size = saved.shape[1] if curve_and_wants_db[-1] else 0
    return dx, dx.new_empty([size], dtype=computing_type(saved.dtype))


@torch.library.register_fake("custom_ops::bias_act_curvature")
def _(dy: Tensor, ddx: Tensor, x: Tensor, b: Tensor | None, *curve: Any) -> Tensor:
    return torch.empty_like(x, memory_format=layout(x))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, b, *ctx.curve = inputs
    if is_straight(ctx.curve):
        ctx.save_for_backward(None, None)
    elif tells_slope(ctx.curve):
        ctx.save_for_backward(output, None)
    else:
        ctx.save_for_backward(x, b)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, dy: Tensor | None) -> tuple[Tensor | None, ...]:
    if dy is None:
        return (None,) * 6
    saved, b = ctx.saved_tensors
    wants_dx, wants_db = ctx.needs_input_grad[:2]
    if tells_slope(ctx.curve):  # nothing flows through y: a second derivative shall not walk the graph behind it
        saved = (dy if saved is None else saved).detach()
    dx, db = torch.ops.custom_ops.bias_act_backward.default(dy, saved, b, *ctx.curve, wants_db)
    return dx if wants_dx else None, db if wants_db else None, None, None, None, None


def _keep_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    dy, saved, b, *ctx.curve, wants_db = inputs
    if not wants_db:
        ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(None if tells_slope(ctx.curve) else dy, saved, b)
    ctx.set_materialize_grads(False)


def _backward_of_backward(ctx: Any, ddx: Tensor | None, ddb: Tensor | None) -> tuple[Tensor | None, ...]:
    dy, saved, b = ctx.saved_tensors
    wants_ddy, wants_dx, wants_db = ctx.needs_input_grad[:3]
    ddy = dx = db = None
    if ddb is not None:
        ddb = along_channels(ddb.to(saved.dtype), saved).expand_as(saved)
        ddx = ddb if ddx is None else ddx + ddb
    if ddx is not None and wants_ddy:
        ddy, _ = torch.ops.custom_ops.bias_act_backward.default(ddx, saved, b, *ctx.curve, False)
    if ddx is not None and (wants_dx or wants_db) and not tells_slope(ctx.curve):
        dx = torch.ops.custom_ops.bias_act_curvature.default(dy, ddx, saved, b, *ctx.curve)
        db = sum_to_channels(dx) if wants_db else None
    return ddy, dx, db, None, None, None, None, None


def _refuse(ctx: Any, _: Tensor) -> None:
    raise NotImplementedError("bias_act has no third derivative but for linear, relu and lrelu")


torch.library.impl("custom_ops::bias_act", "CompositeExplicitAutograd", reference)
torch.library.impl("custom_ops::bias_act_backward", "CompositeExplicitAutograd", reference_backward)
torch.library.impl("custom_ops::bias_act_curvature", "CompositeExplicitAutograd", reference_curvature)
torch.library.register_autograd("custom_ops::bias_act", _backward, setup_context=_keep)
torch.library.register_autograd("custom_ops::bias_act_backward", _backward_of_backward, setup_context=_keep_backward)
torch.library.register_autograd("custom_ops::bias_act_curvature", _refuse)
