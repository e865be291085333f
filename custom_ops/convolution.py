"""Convolutions with fast second derivatives, as R1 and the path length need them.

PyTorch differentiates the gradient of a convolution by convolutions whose kernel is a whole image, after copying both
to another memory format. But a convolution y = x * w is linear in x and in w, and so are its two gradients

    gx(gy, w)  of the input,    gw(gy, x)  of the weights,

in both of their arguments. Each derivative of these three is again one of the three, which libraries compute at full
speed. The gradient of weights is skipped if only that of images is asked for.

On a CPU without bfloat16 instructions, PyTorch convolves bfloat16 by plain loops, twelve times as slowly as float32.
There bfloat16 is convolved in float32 and rounded once at the end, as those instructions do.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from custom_ops.weight_gradient import prefers_products, weight_gradient
from system.private import cpu_has_bfloat16, needs_gradient

_aten = torch.ops.aten


_BFLOAT16_BY_LOOPS = not cpu_has_bfloat16()


class Geometry(NamedTuple):
    """The parameters of a convolution. Pairs are (vertical, horizontal)."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    transposed: bool
    groups: int

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of `aten.convolution` after the bias, without dilation and output padding."""
        return self.stride, self.padding, (1, 1), self.transposed, (0, 0), self.groups


def convolve(x: Tensor, w: Tensor, stride: int = 1, padding: tuple[int, int] = (0, 0), groups: int = 1) -> Tensor:
    """`F.conv2d(x, w, stride=stride, padding=padding, groups=groups)`."""
    return _convolution(x, w, Geometry((stride, stride), padding, False, groups))


def convolve_transposed(x: Tensor, w: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
    """`F.conv_transpose2d(x, w, stride=stride, groups=groups)`."""
    return _convolution(x, w, Geometry((stride, stride), (0, 0), True, groups))


def _convolution(x: Tensor, w: Tensor, geometry: Geometry) -> Tensor:
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        f = F.conv_transpose2d if geometry.transposed else F.conv2d
        y = f(_wide(x), _wide(w), stride=geometry.stride, padding=geometry.padding, groups=geometry.groups)
        return _rounded(y, x)
    if w.is_leaf and w.requires_grad:
        w = w.view_as(w)  # PyTorch cannot tell whether the gradient of a leaf is wanted
    return _Bilinear.apply(x, w, None, "y", geometry)


def _wide(x: Tensor) -> Tensor:
    """The tensor to convolve instead of x. Exported graphs may run on any CPU, so they keep the dtype of x."""
    by_loops = _BFLOAT16_BY_LOOPS and x.dtype == torch.bfloat16 and x.device.type == "cpu"
    return x.float() if by_loops and not torch.compiler.is_exporting() else x


def _rounded(y: Tensor, like: Tensor) -> Tensor:
    return y if y.dtype == like.dtype else y.to(like.dtype)  # an exported graph would record the no-op


def _wanted(ctx: Any, i: int) -> bool:
    """Whether the running backward pass needs the gradient of argument i. True if PyTorch does not say."""
    node = ctx.next_functions[i][0] if ctx.needs_input_grad[i] else None
    return node is not None and needs_gradient(node)


class _Bilinear(torch.autograd.Function):
    """y(x, w), gx(gy, w) or gw(gy, x), by its name. `like` has the shape of the gradient; y needs no such tensor.

    `like` is detached, so that PyTorch does not differentiate it.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, like: Tensor | None, name: str, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(a, b)
        ctx.name, ctx.geometry = name, geometry
        if like is None:
            return _rounded(_aten.convolution(_wide(a), _wide(b), None, *geometry.arguments), a)
        if name == "gx":
            return _gradients(a, like, b, geometry, True, False)[0]
        return _gradients(a, b, like, geometry, False, True)[1]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        wanted = _wanted(ctx, 0), _wanted(ctx, 1)
        if ctx.name == "y" and all(wanted) and not torch.is_grad_enabled():
            return *_gradients(g, a, b, ctx.geometry, True, True), None, None, None
        derivatives = {
            "y": ((g, b, a.detach(), "gx"), (g, a, b.detach(), "gw")),
            "gx": ((g, b, None, "y"), (a, g, b.detach(), "gw")),
            "gw": ((b, g, None, "y"), (a, g, b.detach(), "gx")),
        }[ctx.name]
        to_a, to_b = (
            _Bilinear.apply(*d, ctx.geometry) if w else None for d, w in zip(derivatives, wanted, strict=True)
        )
        return to_a, to_b, None, None, None


def _gradients(gy: Tensor, x: Tensor, w: Tensor, geometry: Geometry, for_x: bool, for_w: bool) -> tuple[Tensor, Tensor]:
    """gx and gw in one call. A gradient that was not asked for is undefined."""
    if geometry.groups > 1:  # PyTorch 2.13 computes a wrong gradient of float64 weights in channels_last
        x = x.contiguous()
    gy_, x_, w_ = _wide(gy), _wide(x), _wide(w)
    products = _weight_products(gy_, x_, w_, geometry) if for_w else None
    mask = (for_x, for_w and products is None, False)
    gx, gw, _ = _aten.convolution_backward(gy_, x_, w_, None, *geometry.arguments, mask)
    gw = gw if products is None else products
    return _rounded(gx, x) if for_x else gx, _rounded(gw, w) if for_w else gw


def _weight_products(gy: Tensor, x: Tensor, w: Tensor, geometry: Geometry) -> Tensor | None:
    """gw by matrix products if that is faster, otherwise None."""
    if geometry.transposed:  # gx is a convolution of gy with the same weights
        gy, x = x, gy
    kernel = (w.shape[2], w.shape[3])
    if geometry.groups > 1 or not prefers_products(gy, x, kernel):
        return None
    return weight_gradient(gy, x, kernel, geometry.stride, geometry.padding)
