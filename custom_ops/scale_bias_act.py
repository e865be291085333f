"""Bias, activation, gain and clamp in one pass over memory, also after a scale per channel and noise.

    y = clamp(gain * act(x * scale + noise * strength + b), -clamp, clamp)

Activations are leaky ReLUs with slope alpha below zero; alpha 1 is linear. With d = dy * slope(y), its gradient

    dx = d * scale   dscale = sum of d * x over pixels   dnoise = sum of d over channels   db = sum of d over the rest

is linear in dy. Its adjoint is the Jacobian-vector product slope(y) * (dx * scale + x * dscale + dnoise + db). So the
operator is differentiable twice. It saves its output for the backward pass instead of its input.
"""

from collections.abc import Callable
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from custom_ops import build

Curve = tuple[float, float, float | None]  # alpha, gain, clamp


# Slope below zero, and default gain: it keeps the variance of a standard normal input near one (He et al. 2015).
ACTIVATIONS = {"linear": (1.0, 1.0), "lrelu": (0.2, sqrt(2))}


def bias_act(
    x: Tensor, b: Tensor | None = None, act: str = "linear", gain: float | None = None, clamp: float | None = None
) -> Tensor:
    """Add a bias, apply an activation, scale and clamp: `scale_bias_act` of an input [N, C, ...] of any dimensions."""
    return scale_bias_act(x, None, None, b, act, gain, clamp)


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
    """Scale every channel of every sample, add noise and bias, apply an activation, scale and clamp.

    Returns a tensor like x. The other tensors may have any floating dtype, and are not rounded to the dtype of x.

    Args:
        x: input [N, C, H, W] of any floating dtype.
        scale: factors [N, C]. None means one.
        noise: [H, W] or [N, 1, H, W]. None adds no noise.
        b: bias [C]. None adds no bias.
        act: "linear" or "lrelu".
        gain: factor after the activation. None means the activation's own.
        clamp: limit of the absolute output, or None. The derivative is zero at the limit.
        strength: factor of the noise, a scalar tensor. None means one.
    """
    of_noise = x.shape[2:] if noise is not None and noise.ndim == 2 else (x.shape[0], 1, *x.shape[2:])
    for name, t, shape in (("scale", scale, x.shape[:2]), ("noise", noise, of_noise), ("bias", b, x.shape[1:2])):
        if t is not None and t.shape != shape:
            raise ValueError(f"a {name} of shape {tuple(t.shape)} does not fit an input {tuple(x.shape)}")
    if clamp is not None and clamp < 0:
        raise ValueError(f"clamp is {clamp}, expected 0 or more")
    (alpha, usual), wide = ACTIVATIONS[act], computing_type(x.dtype)
    curve = alpha, usual if gain is None else gain, clamp
    if scale is noise is b is None and curve == (1.0, 1.0, None):
        return x
    if noise is not None:
        noise = noise.to(wide) if noise.ndim == 4 else noise.to(wide)[None, None]
        noise = noise if strength is None else noise * strength.to(wide)
    scale, b = (None if t is None else t.to(wide) for t in (scale, b))
    if torch.compiler.is_exporting():
        return reference(x, scale, noise, b, *curve)
    if not torch.compiler.is_compiling():
        build.load(x.device)
    return torch.ops.custom_ops.scale_bias_act(x, scale, noise, b, *curve)


def computing_type(dtype: torch.dtype) -> torch.dtype:
    """The dtype that sums and products of a dtype are computed in, to be rounded once."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _slope(y: Tensor, curve: Curve) -> Tensor:
    """The slope of a curve, computed from its output, in the computing type of y."""
    alpha, gain, clamp = curve
    u = y.to(computing_type(y.dtype)) * gain  # has the sign of the activation's input
    slope = torch.ones_like(u)
    if alpha != 1:
        slope = torch.ops.aten.leaky_relu_backward(slope, u, alpha, False)
    slope = slope * gain
    if clamp is None:
        return slope
    limit = torch.tensor(clamp, dtype=y.dtype).item()  # rounded as y is, so that an output at the limit compares equal
    return torch.ops.aten.hardtanh_backward(slope, y.to(slope.dtype), -limit, limit)


def layout(x: Tensor) -> torch.memory_format:
    """The memory format of outputs: channels_last if x is channels_last and not also contiguous."""
    last = x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _output(y: Tensor, like: Tensor) -> Tensor:
    """y in the dtype and memory format of `like`, and never `like` itself."""
    y = y.to(like.dtype).contiguous(memory_format=layout(like))
    return y.clone() if y is like else y


def _terms(like: Tensor, x: Any, x2: Any, scale: Any, scale2: Any, noise: Any, b: Any) -> list[Tensor]:
    """Those of x * scale, x2 * scale2, noise and b that are given, to be added to a tensor [N, C, ...]."""
    products = (None if t is None else _scaled(t, s) for t, s in ((x, scale), (x2, scale2)))
    b = None if b is None else b.reshape([-1] + [1] * (like.ndim - 2))
    return [term for term in (*products, noise, b) if term is not None]


def _scaled(x: Tensor, scale: Tensor | None) -> Tensor:
    """x * scale in the computing type of x."""
    return x.to(computing_type(x.dtype)) if scale is None else x * scale[:, :, None, None]


def reference(x: Tensor, scale: Tensor | None, noise: Tensor | None, b: Tensor | None, *curve: Any) -> Tensor:
    first, *others = _terms(x, x, None, scale, None, noise, b)
    alpha, gain, clamp = curve
    y = sum(others, start=first)
    y = y if alpha == 1 else F.leaky_relu(y, alpha)
    y = y if gain == 1 else y * gain
    y = y if clamp is None else F.hardtanh(y, -clamp, clamp)  # slope 0 at the limit, where Tensor.clamp has 1
    return _output(y, x)


def reference_backward(
    dy: Tensor, y: Tensor, x: Tensor | None, scale: Tensor | None, *curve_and_wants: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    *curve, wants_dscale, wants_dnoise, wants_db = curve_and_wants
    d = dy * _slope(y, tuple(curve))
    dscale = (d * x).sum([2, 3]) if wants_dscale and x is not None else d.new_empty([0])
    dnoise = d.sum(1, keepdim=True) if wants_dnoise else d.new_empty([0])
    others = [i for i in range(d.ndim) if i != 1]
    db = d.sum(others, dtype=computing_type(d.dtype)) if wants_db else d.new_empty([0])
    return _output(_scaled(d, scale), y), dscale, dnoise.contiguous(), db


def reference_jvp(y: Tensor, *terms_and_curve: Any) -> Tensor:
    dx, x, scale, dscale, dnoise, db, *curve = terms_and_curve
    terms = _terms(y, dx, None if dscale is None else x, scale, dscale, dnoise, db)
    zero = torch.zeros([], dtype=computing_type(y.dtype), device=y.device)
    return _output(_slope(y, tuple(curve)) * sum(terms, start=zero), y)


_CURVE = "float alpha, float gain, float? clamp"
OPERATORS: dict[str, tuple[str, Callable[..., Any]]] = {  # schemas, and references in plain PyTorch
    # x [N, C, H, W]; scale [N, C], noise [N or 1, 1, H, W] and b [C] in the computing type of x.
    "scale_bias_act": (f"(Tensor x, Tensor? scale, Tensor? noise, Tensor? b, {_CURVE}) -> Tensor", reference),
    # y: the output, or any tensor like it if the slope is the same everywhere. x: for dscale only.
    "scale_bias_act_backward": (
        f"(Tensor dy, Tensor y, Tensor? x, Tensor? scale, {_CURVE}, bool wants_dscale, bool wants_dnoise,"
        " bool wants_db) -> (Tensor dx, Tensor dscale, Tensor dnoise, Tensor db)",
        reference_backward,
    ),
    "scale_bias_act_jvp": (
        "(Tensor y, Tensor? dx, Tensor? x, Tensor? scale, Tensor? dscale, Tensor? dnoise, Tensor? db,"
        f" {_CURVE}) -> Tensor",
        reference_jvp,
    ),
}
for _name, (_schema, _reference) in OPERATORS.items():
    torch.library.define(f"custom_ops::{_name}", _schema)
    torch.library.impl(f"custom_ops::{_name}", "CompositeExplicitAutograd", _reference)
_op_backward = torch.ops.custom_ops.scale_bias_act_backward.default
_op_jvp = torch.ops.custom_ops.scale_bias_act_jvp.default


@torch.library.register_fake("custom_ops::scale_bias_act")
@torch.library.register_fake("custom_ops::scale_bias_act_jvp")
def _(x: Tensor, *rest: Any) -> Tensor:
    return torch.empty_like(x, memory_format=layout(x))


@torch.library.register_fake("custom_ops::scale_bias_act_backward")
def _(dy: Tensor, y: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    N, C, *size = y.shape
    shapes = zip([(N, C), (N, 1, *size), (C,)], rest[-3:], strict=True)
    wide = computing_type(y.dtype)
    dscale, dnoise, db = (y.new_empty(shape if wanted else [0], dtype=wide) for shape, wanted in shapes)
    return torch.empty_like(y, memory_format=layout(y)), dscale, dnoise, db


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, scale, noise, _, *ctx.curve = inputs
    ctx.one_noise = noise is not None and noise.shape[0] == 1
    straight = ctx.curve[0] == 1 and ctx.curve[2] is None  # then y is not used
    ctx.save_for_backward(None if straight else output, x if ctx.needs_input_grad[1] else None, scale)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, dy: Tensor | None) -> tuple[Tensor | None, ...]:
    if dy is None:
        return (None,) * 7
    y, x, scale = ctx.saved_tensors
    wants = ctx.needs_input_grad[:4]
    # Detached: no gradient flows through y, so a second derivative must not visit the graph behind y.
    y = (dy if y is None else y).detach()
    grads = _op_backward(dy, y, x, scale, *ctx.curve, *wants[1:])
    dx, dscale, dnoise, db = (grad if wanted else None for grad, wanted in zip(grads, wants, strict=True))
    dnoise = dnoise.sum(0, keepdim=True) if dnoise is not None and ctx.one_noise else dnoise
    return dx, dscale, dnoise, db, None, None, None


def _keep_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    dy, y, x, scale, *ctx.curve = inputs[:-3]
    ctx.mark_non_differentiable(*(t for t, wanted in zip(output[1:], inputs[-3:], strict=True) if not wanted))
    ctx.save_for_backward(dy if any(ctx.needs_input_grad[2:4]) else None, y, x, scale)
    ctx.set_materialize_grads(False)


def _backward_of_backward(
    ctx: Any, ddx: Tensor | None, ddscale: Tensor | None, ddnoise: Tensor | None, ddb: Tensor | None
) -> tuple[Tensor | None, ...]:
    if ddx is ddscale is ddnoise is ddb is None:
        return (None,) * 10
    dy, y, x, scale = ctx.saved_tensors
    wants_ddy, _, wants_dx, wants_dscale = ctx.needs_input_grad[:4]
    ddy = None
    if ctx.curve[0] == 1 and ctx.curve[2] is None and ddx is not None:
        y = ddx.detach()  # y is not used; ddx is read anyway
    if wants_ddy:
        ddy = _op_jvp(y, ddx, x, scale, ddscale, ddnoise, ddb, *ctx.curve)
    # x and the scale are factors of ddscale and of ddx.
    wants_dx, wants_dscale = wants_dx and ddscale is not None, wants_dscale and ddx is not None
    dx = dscale = None
    if wants_dx or wants_dscale:
        dx, dscale, _, _ = _op_backward(dy, y, ddx, ddscale, *ctx.curve, wants_dscale, False, False)
    return ddy, None, dx if wants_dx else None, dscale if wants_dscale else None, *[None] * 6


def _refuse(ctx: Any, ddy: Tensor) -> None:
    raise NotImplementedError("scale_bias_act is differentiable twice, and a third derivative was asked for")


torch.library.register_autograd("custom_ops::scale_bias_act", _backward, setup_context=_keep)
torch.library.register_autograd(
    "custom_ops::scale_bias_act_backward", _backward_of_backward, setup_context=_keep_backward
)
torch.library.register_autograd("custom_ops::scale_bias_act_jvp", _refuse)
