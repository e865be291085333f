"""Pad, upsample, filter with a finite impulse response (FIR) and downsample a batch of images.

These four steps are the classical `upfirdn` of signal processing, which resamples without aliases (Zhang 2019, "Making
Convolutional Networks Shift-Invariant Again"):

    1. insert `up - 1` zeros after every sample, in both directions;
    2. pad with zeros on the four sides (negative padding crops);
    3. convolve with the filter, without going beyond the padding;
    4. keep every `down`-th sample, starting with the first.

Pairs are (horizontal, vertical) and paddings (left, right, top, bottom), as in `torch.nn.functional.pad`.

The operator `custom_ops::upfirdn2d` does all four. Its native kernels (`upfirdn2d.cpp`, `upfirdn2d.cu`) need one pass
over memory. `reference` is the same in plain PyTorch.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from custom_ops import build

Pair = tuple[int, int]  # horizontal, vertical
Sides = tuple[int, int, int, int]  # left, right, top, bottom
Padding = int | Sequence[int]
Factor = int | Pair


def setup_filter(
    taps: Sequence[float] | Tensor,
    normalize: bool = True,
    gain: float = 1.0,
    separable: bool = False,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Make a float32 filter for the functions of this file.

    Args:
        taps: a line [taps] or a matrix [rows, columns].
        normalize: scale the sum of the taps to one.
        gain: factor of the whole filter's response.
        separable: return a line as a line, to be applied in both directions, instead of its outer product with itself.

    Returns:
        A tensor [taps] or [rows, columns].
    """
    f = torch.as_tensor(taps, dtype=torch.float32, device=device)
    if f.ndim not in (1, 2) or f.numel() == 0:
        raise ValueError(f"a filter has one or two dimensions and at least one tap, but its shape is {tuple(f.shape)}")
    if f.ndim == 1 and not separable:
        f = torch.outer(f, f)
    if normalize:
        f = f / f.sum()
    return f * gain ** (f.ndim / 2)


def upfirdn2d(
    x: Tensor,
    f: Tensor | None,
    up: Factor = 1,
    down: Factor = 1,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Pad, upsample, filter and downsample images.

    Args:
        x: images [N, C, H, W].
        f: filter [taps] (applied in both directions) or [rows, columns], without gradient. None is the identity.
        up: upsampling factor.
        down: downsampling factor.
        padding: zeros around the upsampled image: one number, (horizontal, vertical) or (left, right, top, bottom).
        flip_filter: False convolves, True correlates.
        gain: factor of the output.

    Returns:
        Images [N, C, H', W'] in the dtype of x, with H' = ceil((H * up + top + bottom - rows + 1) / down) and W'
        likewise.

    Raises:
        ValueError: if a factor is below one or the padded image is smaller than the filter.
    """
    (up_x, up_y), (down_x, down_y) = pair(up), pair(down)
    left, right, top, bottom = four_sides(padding)
    if min(up_x, up_y, down_x, down_y) < 1:
        raise ValueError(f"resampling factors are whole numbers from 1, but up is {up} and down is {down}")
    f = x.new_ones([1, 1], dtype=torch.float32) if f is None else constant(f)
    columns, rows = filter_size(f)
    height, width = x.shape[2] * up_y + top + bottom, x.shape[3] * up_x + left + right
    if height < rows or width < columns:
        raise ValueError(f"a filter of {columns}x{rows} taps does not fit into a padded image of {width}x{height}")
    if not torch.compiler.is_compiling():
        build.load(x.device)
    op = reference if torch.compiler.is_exporting() else _resample
    return op(x, f, up_x, up_y, down_x, down_y, left, right, top, bottom, float(gain), flip_filter)


def filter2d(x: Tensor, f: Tensor, padding: Padding = 0, flip_filter: bool = False, gain: float = 1.0) -> Tensor:
    """Filter images [N, C, H, W] and keep their size. `padding` adds to the padding needed for that."""
    (width, height), (left, right, top, bottom) = filter_size(f), four_sides(padding)
    sides = (left + width // 2, right + (width - 1) // 2, top + height // 2, bottom + (height - 1) // 2)
    return upfirdn2d(x, f, padding=sides, flip_filter=flip_filter, gain=gain)


def upsample2d(
    x: Tensor, f: Tensor, up: Factor = 2, padding: Padding = 0, flip_filter: bool = False, gain: float = 1.0
) -> Tensor:
    """Enlarge images [N, C, H, W] `up` times. `padding` adds to the padding needed. The brightness stays the same."""
    up_x, up_y = pair(up)
    sides = add_sides(four_sides(padding), upsampling_padding(f, up))
    return upfirdn2d(x, f, up=up, padding=sides, flip_filter=flip_filter, gain=gain * up_x * up_y)


def downsample2d(
    x: Tensor, f: Tensor, down: Factor = 2, padding: Padding = 0, flip_filter: bool = False, gain: float = 1.0
) -> Tensor:
    """Reduce images [N, C, H, W] `down` times. `padding` adds to the padding needed."""
    sides = add_sides(four_sides(padding), downsampling_padding(f, down))
    return upfirdn2d(x, f, down=down, padding=sides, flip_filter=flip_filter, gain=gain)


def filter_size(f: Tensor | None) -> Pair:
    """(width, height) of a filter."""
    if f is None:
        return 1, 1
    return f.shape[-1], f.shape[0]


def upsampling_padding(f: Tensor | None, up: Factor) -> Sides:
    """The padding that centers the filter on the upsampled image and gives `up` times the size."""
    (up_x, up_y), (width, height) = pair(up), filter_size(f)
    return (width + up_x - 1) // 2, (width - up_x) // 2, (height + up_y - 1) // 2, (height - up_y) // 2


def downsampling_padding(f: Tensor | None, down: Factor) -> Sides:
    """The padding that centers the filter on every group of `down` samples."""
    (down_x, down_y), (width, height) = pair(down), filter_size(f)
    return (width - down_x + 1) // 2, (width - down_x) // 2, (height - down_y + 1) // 2, (height - down_y) // 2


def pair(factor: Factor) -> Pair:
    return (factor, factor) if isinstance(factor, int) else (factor[0], factor[1])


def four_sides(padding: Padding) -> Sides:
    if isinstance(padding, int):
        return padding, padding, padding, padding
    if len(padding) == 2:
        return padding[0], padding[0], padding[1], padding[1]
    if len(padding) != 4:
        raise ValueError(f"padding has 1, 2 or 4 numbers, but is {tuple(padding)}")
    return padding[0], padding[1], padding[2], padding[3]


def add_sides(a: Sides, b: Sides) -> Sides:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]


def constant(f: Tensor) -> Tensor:
    """f detached, in a dtype that kernels read."""
    f = f.detach() if f.requires_grad else f
    return f if f.dtype in (torch.float32, torch.float64) else f.float()


torch.library.define(
    "custom_ops::upfirdn2d",
    "(Tensor x, Tensor f, int up_x, int up_y, int down_x, int down_y, SymInt left, SymInt right, SymInt top,"
    " SymInt bottom, float gain, bool flip) -> Tensor",
)
_resample = torch.ops.custom_ops.upfirdn2d.default


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, f, *ctx.arguments = inputs
    ctx.sizes = (x.shape[2:], output.shape[2:])
    ctx.save_for_backward(f)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    """The adjoint is the same operator with exchanged factors and a flipped filter, so it is differentiable, too."""
    (f,) = ctx.saved_tensors
    up_x, up_y, down_x, down_y, left, _, top, _, gain, flip = ctx.arguments
    (height, width), (out_height, out_width) = ctx.sizes
    columns, rows = filter_size(f)
    sides = (
        columns - 1 - left,
        (width - 1) * up_x - out_width * down_x + left + 1,
        rows - 1 - top,
        (height - 1) * up_y - out_height * down_y + top + 1,
    )
    return _resample(dy, f, down_x, down_y, up_x, up_y, *sides, gain, not flip), *[None] * 11


def _shape_only(x: Tensor, f: Tensor, *arguments: Any) -> Tensor:
    up_x, up_y, down_x, down_y, left, right, top, bottom, _, _ = arguments
    (columns, rows), (N, C, H, W) = filter_size(f), x.shape
    height = (H * up_y + top + bottom - rows + down_y) // down_y
    width = (W * up_x + left + right - columns + down_x) // down_x
    return torch.empty([N, C, height, width], dtype=x.dtype, device=x.device, memory_format=_format(x))


def reference(x: Tensor, f: Tensor, *arguments: Any) -> Tensor:
    """The operator by PyTorch's depthwise convolutions, with sums in float32 or float64."""
    up_x, up_y, down_x, down_y, left, right, top, bottom, gain, flip = arguments
    y = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    f = (f if flip else f.flip(list(range(f.ndim)))).to(y.dtype)  # convolutions correlate
    if f.ndim == 1:
        y = _correlate(y, f[None, :] * gain, (up_x, 1), (down_x, 1), (left, right, 0, 0))
        y = _correlate(y, f[:, None], (1, up_y), (1, down_y), (0, 0, top, bottom))
    else:
        y = _correlate(y, f * gain, (up_x, up_y), (down_x, down_y), (left, right, top, bottom))
    return y.to(x.dtype).contiguous(memory_format=_format(x))


torch.library.register_autograd("custom_ops::upfirdn2d", _backward, setup_context=_keep_for_backward)
torch.library.register_fake("custom_ops::upfirdn2d", _shape_only)
torch.library.impl("custom_ops::upfirdn2d", "CompositeExplicitAutograd", reference)


def _format(x: Tensor) -> torch.memory_format:
    """channels_last if x is channels_last and not also contiguous."""
    last = not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _correlate(x: Tensor, f: Tensor, up: Pair, down: Pair, sides: Sides) -> Tensor:
    """The four steps for a correlation filter [rows, columns]."""
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
    crop_x = (columns - 1 - left, columns - up[0] - right)
    crop_y = (rows - 1 - top, rows - up[1] - bottom)
    alike = crop_x[0] == crop_x[1] >= 0 and crop_y[0] == crop_y[1] >= 0
    implicit = (crop_y[0], crop_x[0]) if alike else (0, 0)
    f = f.flip([0, 1]).expand(C, 1, rows, columns)
    x = F.conv_transpose2d(x, f, stride=(up[1], up[0]), padding=implicit, groups=C)
    if not alike:
        x = _pad(x, (-crop_x[0], -crop_x[1], -crop_y[0], -crop_y[1]))
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
