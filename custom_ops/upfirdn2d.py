"""Pad, upsample, filter with a finite impulse response (FIR) and downsample a batch of images.

These are the four steps of the classical `upfirdn`, which resamples without aliases (Zhang 2019, "Making Convolutional
Networks Shift-Invariant Again"): insert `up - 1` zeros after every sample, in both directions; pad with zeros on the
four sides (left, right, top, bottom; negative padding crops); convolve with the filter, without going beyond the
padding; keep every `down`-th sample, starting with the first. The operator `custom_ops::upfirdn2d` does all
four in one pass over memory (`upfirdn2d.cpp`, `upfirdn2d.cu`). `reference` is the same in plain PyTorch.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from custom_ops import build
from custom_ops.scale_bias_act import layout

Pair = tuple[int, int]
Sides = tuple[int, int, int, int]  # left, right, top, bottom
NO_SIDES = (0, 0, 0, 0)


def setup_filter(taps: Sequence[float] | Tensor, separable: bool = False, device: torch.device | str = "cpu") -> Tensor:
    """Make a float32 filter of the sum one: the outer product [taps, taps] of a line with itself.

    `separable` returns the line [taps] instead, to be applied in both directions.
    """
    f = torch.as_tensor(taps, dtype=torch.float32, device=device)
    f = f if separable else torch.outer(f, f)
    return f / f.sum()


def upfirdn2d(
    x: Tensor,
    f: Tensor | None,
    up: int = 1,
    down: int = 1,
    padding: Sides = NO_SIDES,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Pad, upsample, filter and downsample images.

    Args:
        x: images [N, C, H, W].
        f: filter [taps] (applied in both directions) or [rows, columns], an outer product. None is the identity.
        up, down: factors of upsampling and downsampling.
        padding: zeros around the upsampled image.
        flip_filter: False convolves, True correlates.
        gain: factor of the output.

    Returns:
        Images [N, C, H', W'] in the dtype of x, with H' = ceil((H * up + top + bottom - rows + 1) / down).
    """
    left, right, top, bottom = padding
    f = x.new_ones([1, 1], dtype=torch.float32) if f is None else f if f.dtype == torch.float32 else f.float()
    columns, rows = filter_size(f)
    height, width = x.shape[2] * up + top + bottom, x.shape[3] * up + left + right
    if height < rows or width < columns:
        raise ValueError(f"a filter of {columns}x{rows} taps does not fit into a padded image of {width}x{height}")
    if not torch.compiler.is_compiling():
        build.load(x.device)
    op = reference if torch.compiler.is_exporting() else _resample
    return op(x, f, up, down, left, right, top, bottom, float(gain), flip_filter)


def filter2d(x: Tensor, f: Tensor) -> Tensor:
    """Filter images [N, C, H, W] and keep their size."""
    return upfirdn2d(x, f, padding=centered(f))


def upsample2d(x: Tensor, f: Tensor, up: int = 2) -> Tensor:
    """Enlarge images [N, C, H, W] `up` times. The brightness stays the same."""
    return upfirdn2d(x, f, up=up, padding=centered(f, up=up), gain=up * up)


def downsample2d(x: Tensor, f: Tensor, down: int = 2) -> Tensor:
    """Reduce images [N, C, H, W] `down` times."""
    return upfirdn2d(x, f, down=down, padding=centered(f, down=down))


def filter_size(f: Tensor | None) -> Pair:
    """(width, height) of a filter."""
    return (1, 1) if f is None else (f.shape[-1], f.shape[0])


def centered(f: Tensor | None, up: int = 1, down: int = 1) -> Sides:
    """The padding that centers a filter, and gives `up` times the size or a `down`-th of it."""
    left, right, top, bottom = (
        n for size in filter_size(f) for n in ((size + up - down) // 2, (size - up - down + 1) // 2)
    )
    return left, right, top, bottom


torch.library.define(
    "custom_ops::upfirdn2d",
    "(Tensor x, Tensor f, int up, int down, SymInt left, SymInt right, SymInt top, SymInt bottom, float gain,"
    " bool flip) -> Tensor",
)
_resample = torch.ops.custom_ops.upfirdn2d.default


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, f, *ctx.arguments = inputs
    ctx.sizes = (x.shape[2:], output.shape[2:])
    ctx.save_for_backward(f)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    """The adjoint is the same operator with exchanged factors and a flipped filter, so it is differentiable, too."""
    (f,) = ctx.saved_tensors
    up, down, left, _, top, _, gain, flip = ctx.arguments
    (height, width), (out_height, out_width) = ctx.sizes
    columns, rows = filter_size(f)
    right = (width - 1) * up - out_width * down + left + 1
    bottom = (height - 1) * up - out_height * down + top + 1
    dx = _resample(dy, f, down, up, columns - 1 - left, right, rows - 1 - top, bottom, gain, not flip)
    return dx, *[None] * 9


def _shape_only(x: Tensor, f: Tensor, *arguments: Any) -> Tensor:
    up, down, left, right, top, bottom, _, _ = arguments
    (columns, rows), (N, C, H, W) = filter_size(f), x.shape
    height = (H * up + top + bottom - rows + down) // down
    width = (W * up + left + right - columns + down) // down
    return torch.empty([N, C, height, width], dtype=x.dtype, device=x.device, memory_format=layout(x))


def reference(x: Tensor, f: Tensor, *arguments: Any) -> Tensor:
    """The operator by PyTorch's depthwise convolutions, with sums in float32 or float64."""
    up, down, left, right, top, bottom, gain, flip = arguments
    y = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    f = (f if flip else f.flip(list(range(f.ndim)))).to(y.dtype)  # convolutions correlate
    if f.ndim == 1:
        y = _correlate(y, f[None, :] * gain, (up, 1), (down, 1), (left, right, 0, 0))
        y = _correlate(y, f[:, None], (1, up), (1, down), (0, 0, top, bottom))
    else:
        y = _correlate(y, f * gain, (up, up), (down, down), (left, right, top, bottom))
    return y.to(x.dtype).contiguous(memory_format=layout(x))


torch.library.register_autograd("custom_ops::upfirdn2d", _backward, setup_context=_keep_for_backward)
torch.library.register_fake("custom_ops::upfirdn2d", _shape_only)
torch.library.impl("custom_ops::upfirdn2d", "CompositeExplicitAutograd", reference)


def _correlate(x: Tensor, f: Tensor, up: Pair, down: Pair, sides: Sides) -> Tensor:
    """The four steps for a correlation filter [rows, columns]. Factors are (horizontal, vertical)."""
    (rows, columns), (left, right, top, bottom) = f.shape, sides
    C, height, width = x.shape[1], x.shape[2] * up[1] + top + bottom, x.shape[3] * up[0] + left + right
    if x.numel() == 0:  # PyTorch's convolutions refuse some empty batches
        return x.new_zeros(x.shape[0], C, (height - rows) // down[1] + 1, (width - columns) // down[0] + 1)
    if up == (1, 1):
        x, implicit = split_padding(x, sides)
        stride = (down[1], down[0])
        return F.conv2d(x, f.expand(C, 1, rows, columns), stride=stride, padding=implicit, groups=C)
    # A transposed convolution skips the zeros between the samples. It computes every output that a sample reaches.
    # Outputs outside the padding are cropped, by the convolution itself if both sides are alike.
    x0, x1, y0, y1 = columns - 1 - left, columns - up[0] - right, rows - 1 - top, rows - up[1] - bottom
    alike = x0 == x1 >= 0 and y0 == y1 >= 0
    f = f.flip([0, 1]).expand(C, 1, rows, columns)
    x = F.conv_transpose2d(x, f, stride=(up[1], up[0]), padding=(y0, x0) if alike else 0, groups=C)
    x = x if alike else _pad(x, (-x0, -x1, -y0, -y1))
    return x if down == (1, 1) else x[:, :, :: down[1], :: down[0]]


def split_padding(x: Tensor, sides: Sides) -> tuple[Tensor, Pair]:
    """(padded x, the (vertical, horizontal) padding that is left to a convolution)."""
    left, right, top, bottom = sides
    if left == right >= 0 and top == bottom >= 0:
        return x, (top, left)
    return _pad(x, sides), (0, 0)


def _pad(x: Tensor, sides: Sides) -> Tensor:
    """As `F.pad`, which crops first and so cannot crop more than x has before padding."""
    x = F.pad(x, [max(side, 0) for side in sides]) if max(sides) > 0 else x
    left, right, top, bottom = (max(-side, 0) for side in sides)
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]
