"""Compares every native operator with its reference in plain PyTorch, on a device, in some milliseconds.

Compared are values, gradients and gradients of gradients, in the dtypes and memory formats in use, on sizes that fill
vector registers and blocks and on sizes that do not. Inputs are exact in every dtype. The reference is computed once,
in float64 on the CPU: neither TF32 nor errors of another library can hide or cause a difference.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from custom_ops.scale_bias_act import reference as scaled_value
from custom_ops.scale_bias_act import reference_backward as scaled_backward
from custom_ops.scale_bias_act import reference_jvp as scaled_jvp
from custom_ops.upfirdn2d import reference as resampled
from custom_ops.upfirdn2d import setup_filter

REFERENCES: dict[str, Callable[..., Any]] = {
    "scale_bias_act": scaled_value,
    "scale_bias_act_backward": scaled_backward,
    "scale_bias_act_jvp": scaled_jvp,
    "upfirdn2d": resampled,
}
SHAPES = ((2, 5, 7, 9), (1, 16, 19, 40))  # odd numbers, and a tensor of whole vectors and several blocks
DTYPES = {"cpu": (torch.float32, torch.bfloat16), "cuda": (torch.float32, torch.bfloat16, torch.float16)}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
SLACK = 2e-5  # of the largest number: for float32 sums in another order

# Operator, x (all tensors of its shape have its dtype and memory format), arguments.
Call = tuple[str, Tensor, tuple[Any, ...]]


class DifferenceError(Exception):
    """How an operator differs from its reference."""


def difference(device: torch.device, ops: Any = torch.ops.custom_ops) -> str:
    """How an operator differs from its reference, in words. Empty if all agree.

    Args:
        device: where the operators run.
        ops: the namespace of the operators.

    Raises:
        MemoryError, torch.OutOfMemoryError: if there is not enough memory to compare.
    """
    generator = torch.Generator().manual_seed(0)
    try:
        for call in (*_scaled(generator), *_resampled(generator)):
            _compare(call, device, ops)
    except DifferenceError as difference:
        return str(difference)
    return ""


def _compare(call: Call, device: torch.device, ops: Any) -> None:
    operator, x, arguments = call
    expected = _tuple(REFERENCES[operator](*arguments))
    for dtype in DTYPES[device.type]:
        for layout, memory_format in LAYOUTS.items():
            inputs = [_prepared(a, x, dtype, memory_format, device) for a in arguments]
            where = f"{operator} of {str(dtype).removeprefix('torch.')} {'x'.join(map(str, x.shape))} {layout}"
            try:
                first, second = (_tuple(getattr(ops, operator)(*inputs)) for _ in range(2))
                results = [(a.cpu(), torch.equal(a, b)) for a, b in zip(first, second, strict=True)]
            except (MemoryError, torch.OutOfMemoryError):
                raise
            except Exception as error:
                first_line = (str(error).splitlines() or [""])[0]
                raise DifferenceError(f"{where} raises {type(error).__name__}: {first_line}") from error
            for (result, repeats), wanted in zip(results, expected, strict=True):
                has_channels = wanted.ndim == 4 and wanted.shape[1] == x.shape[1]
                _check(where, result, wanted, dtype, memory_format if has_channels else None)
                if not repeats:
                    raise DifferenceError(f"{where} gives another result when it is called again")


def _check(where: str, result: Tensor, wanted: Tensor, dtype: torch.dtype, layout: torch.memory_format | None) -> None:
    """Allows for one rounding to the dtype, and for sums of rounded numbers."""
    if result.shape != wanted.shape or (layout is not None and not result.is_contiguous(memory_format=layout)):
        raise DifferenceError(f"{where} has shape {tuple(result.shape)} and strides {result.stride()}")
    if not wanted.numel():
        return
    rounding = torch.finfo(dtype).eps
    allowed = wanted.abs() * rounding + wanted.abs().max() * max(rounding / 4, SLACK)
    off = (result.double() - wanted).abs()
    if not (off <= allowed).all():  # NaN counts as a difference
        raise DifferenceError(f"{where} is off by {off.max():.2g} where {wanted.abs().max():.2g} is the largest number")


def _prepared(a: Any, x: Tensor, dtype: torch.dtype, memory_format: torch.memory_format, device: torch.device) -> Any:
    if not isinstance(a, Tensor):
        return a
    if a.shape == x.shape:
        return a.to(device, dtype).contiguous(memory_format=memory_format)
    return a.to(device, torch.float32)


def _tuple(results: Any) -> Sequence[Tensor]:
    return (results,) if isinstance(results, Tensor) else results


def _drawn(generator: torch.Generator, *shape: int) -> Tensor:
    """Random numbers that are exact in every dtype, in float64."""
    return torch.randn(shape, generator=generator).bfloat16().double()


def _scaled(generator: torch.Generator) -> Iterator[Call]:
    curve = (0.2, 1.25, 1.5)
    for shape in SHAPES:
        N, C, H, W = shape
        x, dy, dx = (_drawn(generator, *shape) for _ in range(3))
        scale, dscale, b = _drawn(generator, N, C), _drawn(generator, N, C), _drawn(generator, C)
        noise = _drawn(generator, N, 1, H, W)
        y = scaled_value(x, scale, noise, b, *curve).bfloat16().double()
        yield "scale_bias_act", x, (x, scale, noise, b, *curve)
        yield "scale_bias_act", x, (x, None, None, b, *curve)  # a bias alone
        yield "scale_bias_act", x, (x, scale, None, None, 1.0, 1.0, None)  # a style
        yield "scale_bias_act_backward", x, (dy, y, x, scale, *curve, True, True, True)
        yield "scale_bias_act_backward", x, (dy, y, None, None, *curve, False, False, True)
        yield "scale_bias_act_jvp", x, (y, dx, x, scale, dscale, noise, b, *curve)


def _resampled(generator: torch.Generator) -> Iterator[Call]:
    """The derivatives of the operator are the same operator with other arguments."""
    blur, line, odd = setup_filter((1, 3, 3, 1)), _drawn(generator, 12).float(), setup_filter((1, 3, 2))
    for shape in SHAPES:
        x = _drawn(generator, *shape)
        for up, down, sides in ((1, 1, (2, 1, 1, 2)), (2, 1, (2, 1, 2, 1)), (1, 2, (1, 1, 2, 2))):
            yield "upfirdn2d", x, (x, blur, up, down, *sides, 1.25, up == 2)
            yield "upfirdn2d", x, (x, line, up, down, 6, 5, 5, 6, 1.25, down == 2)
        yield "upfirdn2d", x, (x, odd, 3, 2, 4, 3, -1, 2, 1.25, False)
