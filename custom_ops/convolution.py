"""Convolutions with fast second derivatives, as R1 and the path length need them; after or before a resampling filter.

PyTorch differentiates the gradient of a convolution by convolutions whose kernel is a whole image. But a convolution
y = x * w is linear in x and in w, and so are its gradients gx(gy, w) and gw(gy, x) in both of their arguments. Each
derivative of these three is again one of the three, which libraries compute at full speed. The gradient of weights is
skipped if only that of images is asked for.

On a CPU without bfloat16 instructions, PyTorch convolves bfloat16 by plain loops, twelve times as slowly as float32.
There bfloat16 is convolved in float32 and rounded once at the end, as those instructions do.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from custom_ops import winograd
from custom_ops.upfirdn2d import NO_SIDES, Pair, centered, split_padding, upfirdn2d
from system.private import cpu_has_bfloat16, needs_gradient

_aten = torch.ops.aten
_BFLOAT16_BY_LOOPS = not cpu_has_bfloat16()

# The gradient of weights is computed by matrix products on CPUs whose convolution library is slow at it, with more than
# these numbers in one image of the input, or in the weights of one kernel position: half a MiB of float32. Above that,
# oneDNN's AVX2 kernels wait for memory, and the products are up to 6 times as fast (benchmarks/README.md).
_LARGE = 2**17
_FEW_CHANNELS = 32  # with fewer channels the matrices are too thin
_ROWS = 2**14  # of a matrix, at least: images are computed together
_OF_AVX2 = torch.backends.cpu.get_cpu_capability() == "AVX2" and torch.backends.mkl.is_available()


class Geometry(NamedTuple):
    """The arguments of `aten.convolution` after the bias. Pairs are (vertical, horizontal)."""

    stride: Pair
    padding: Pair
    dilation: Pair
    transposed: bool
    output_padding: Pair
    groups: int


def conv2d_resample(
    x: Tensor,
    w: Tensor,
    f: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Tensor:
    """Convolve images, after enlarging them or before reducing them.

    Convolutions commute, so a 1x1 convolution is computed at the lower resolution, and others with strides: the same
    result at a fraction of the cost.

    Args:
        x: images [N, I, H, W].
        w: weights [O, I / groups, rows, columns], to correlate with (PyTorch's convention); to convolve with if up > 1.
        f: low-pass filter of `setup_filter`. None is the identity.
        up, down: factors of the sizes. One of the two is 1.
        padding: zeros on each side of the upsampled image.
        groups: number of convolution groups.
    """
    O, I, rows, columns = w.shape
    if x.shape[1] != I * groups or O % groups:
        raise ValueError(f"weights {tuple(w.shape)} in {groups} groups do not fit an input {tuple(x.shape)}")
    if up > 1 and down > 1:
        raise ValueError(f"up is {up} and down is {down}, expected 1 for one of them")
    resamples = up > 1 or down > 1
    left, right, top, bottom = (side + padding for side in (centered(f, up, down) if resamples else NO_SIDES))
    sides = left, right, top, bottom
    if up == 1:
        if down > 1 and rows == columns == 1:
            x, sides, down = upfirdn2d(x, f, down=down, padding=sides), NO_SIDES, 1
        elif down > 1:
            x, sides = upfirdn2d(x, f, padding=sides), NO_SIDES
        x, implicit = split_padding(x, sides)
        return convolve(x, w, stride=down, padding=implicit, groups=groups)
    if rows == columns == 1:
        return upfirdn2d(convolve(x, w, groups=groups), f, up=up, padding=sides, gain=up**2)
    # A transposed convolution computes every output that a sample reaches. The filter's padding crops what is outside.
    if groups == 1:
        w = w.transpose(0, 1)
    else:  # in the order of `conv_transpose2d`: [I, O / groups, rows, columns]
        w = w.unflatten(0, (groups, -1)).transpose(1, 2).reshape(groups * I, -1, rows, columns)
    x = convolve(x, w, stride=up, groups=groups, transposed=True)
    sides = (left - columns + 1, right - columns + up, top - rows + 1, bottom - rows + up)
    return upfirdn2d(x, f, padding=sides, gain=up**2)


def convolve(
    x: Tensor, w: Tensor, stride: int = 1, padding: Pair = (0, 0), groups: int = 1, transposed: bool = False
) -> Tensor:
    """`F.conv2d`, or `F.conv_transpose2d`, of x and w with these arguments."""
    geometry = Geometry((stride, stride), padding, (1, 1), transposed, (0, 0), groups)
    if torch.compiler.is_compiling():
        f = F.conv_transpose2d if transposed else F.conv2d
        return _rounded(f(_wide(x), _wide(w), stride=geometry.stride, padding=padding, groups=groups), x)
    if not torch.is_grad_enabled():
        return _convolution(x, w, geometry)
    if w.is_leaf and w.requires_grad:
        w = w.view_as(w)  # PyTorch cannot tell whether the gradient of a leaf is wanted
    return _Bilinear.apply(x, w, None, "y", geometry)


def _convolution(x: Tensor, w: Tensor, geometry: Geometry) -> Tensor:
    if tile := _tile(x, w, geometry):
        return winograd.convolve(x, w, geometry.padding[0], False, tile)
    return _rounded(_aten.convolution(_wide(x), _wide(w), None, *geometry), x)


def _tile(x: Tensor, w: Tensor, geometry: Geometry) -> int:
    """The tile of a Winograd convolution, or 0 for an ordinary one."""
    plain = geometry.stride == (1, 1) and geometry.groups == 1 and not geometry.transposed
    return winograd.tile(x, w, geometry.padding) if plain else 0


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
            return _convolution(a, b, geometry)
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
    """gx and gw, each in the fastest form. A gradient that was not asked for is undefined."""
    if tile := _tile(x, w, geometry):
        padding = geometry.padding[0]
        to_x: Any = winograd.convolve(gy, w, padding, True, tile) if for_x else None
        to_w: Any = winograd.gradient_of_weights(gy, x, padding, tile) if for_w else None
        return to_x, to_w
    if geometry.groups > 1:  # PyTorch 2.13 computes a wrong gradient of float64 weights in channels_last
        x = x.contiguous()
    gy_, x_, w_ = _wide(gy), _wide(x), _wide(w)
    by_products = for_w and _prefers_products(gy_, x_, w_, geometry)
    mask = (for_x, for_w and not by_products, False)
    gx, gw, _ = _aten.convolution_backward(gy_, x_, w_, None, *geometry, mask)
    if by_products:
        of_y, of_x = (x_, gy_) if geometry.transposed else (gy_, x_)  # gx is a convolution of gy with the same weights
        gw = torch.ops.custom_ops.weight_gradient(of_y, of_x, w.shape[2:], geometry.stride, geometry.padding)
    return _rounded(gx, x) if for_x else gx, _rounded(gw, w) if for_w else gw


def _prefers_products(gy: Tensor, x: Tensor, w: Tensor, geometry: Geometry) -> bool:
    """Whether matrix products are faster than the convolution library, by processor, dtype and shapes."""
    plain = _OF_AVX2 and x.device.type == "cpu" and x.dtype == torch.float32 and geometry.groups == 1
    channels = w.shape[:2]
    if not plain or min(w.shape[2:]) < 2 or min(channels) < _FEW_CHANNELS:
        return False
    return max((gy if geometry.transposed else x).shape[1:].numel(), channels.numel()) > _LARGE


def _products(gy: Tensor, x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    """The gradient [O, I, rows, columns], channels_last, of the weights of y = x * w, by matrix products.

    For each offset (r, c), gw[o, i, r, c] = sum over n, h, v of gy[n, o, h, v] x[n, i, s h + r, s v + c] is the product
    of two matrices with one row per position: gy, and x shifted by the offset. In channels_last, with gy padded to as
    many columns as x, a shift only changes the first row, so nothing is copied.
    """
    (N, O, H, W), I = gy.shape, x.shape[1]
    (rows, columns), (down, across) = kernel, stride
    # x is split into down * across pictures of every down-th row and across-th column.
    height, width = H - 1 + -(-rows // down), W - 1 + -(-columns // across)
    gw = x.new_zeros(O, rows, columns, I)
    together = max(_ROWS // (height * width), 1)
    for n in range(0, N, together):
        g = _pixels(gy[n : n + together], (0, 0), (height, width)).reshape(-1, O).t()
        pictures = _pixels(x[n : n + together], padding, (height * down, width * across))
        pictures = pictures.unflatten(2, (width, across)).unflatten(1, (height, down)).permute(2, 4, 0, 1, 3, 5)
        pictures = pictures.reshape(down, across, -1, I)
        for row in range(rows):
            for column in range(columns):
                first = row // down * width + column // across
                shifted = pictures[row % down, column % across, first:]
                gw[:, row, column].addmm_(g[:, : len(shifted)], shifted)
    return gw.permute(0, 3, 1, 2)


def _pixels(x: Tensor, before: Sequence[int], size: Sequence[int]) -> Tensor:
    """[N, C, H, W] -> [N, height, width, C], with zeros on top and left, then padded or cropped to the size."""
    (top, left), (height, width) = before, size
    return F.pad(x.permute(0, 2, 3, 1), (0, 0, left, width - left - x.shape[3], top, height - top - x.shape[2]))


torch.library.define(
    "custom_ops::weight_gradient", "(Tensor gy, Tensor x, int[2] kernel, int[2] stride, int[2] padding) -> Tensor"
)
torch.library.impl("custom_ops::weight_gradient", "CompositeExplicitAutograd", _products)


@torch.library.register_fake("custom_ops::weight_gradient")
def _fake(gy: Tensor, x: Tensor, kernel: Sequence[int], *_: Any) -> Tensor:
    return x.new_empty(gy.shape[1], *kernel, x.shape[1]).permute(0, 3, 1, 2)
