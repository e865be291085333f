"""Compares every native operator with its reference in plain PyTorch, on a device, in some milliseconds.

Values, gradients and gradients of gradients, in the types and memory layouts that are in use, on sizes that fill vector
registers and blocks and on sizes that do not. Inputs are exact in every type, so the reference is computed once, in
float64 on the CPU: neither TF32 nor another library's faults can hide or invent a difference.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from custom_ops.activations import tells_slope
from custom_ops.bias_act import reference as curve_value
from custom_ops.bias_act import reference_backward as curve_backward
from custom_ops.bias_act import reference_curvature as curve_curvature
from custom_ops.build.verdict import Proof
from custom_ops.scale_bias_act import reference as scaled_value
from custom_ops.scale_bias_act import reference_backward as scaled_backward
from custom_ops.scale_bias_act import reference_jvp as scaled_jvp
from custom_ops.upfirdn2d import reference as resampled
from custom_ops.upfirdn2d import setup_filter

REFERENCES: dict[str, dict[str, Callable[..., Any]]] = {
    "bias_act": {
        "bias_act": curve_value,
        "bias_act_backward": curve_backward,
        "bias_act_curvature": curve_curvature,
    },
    "scale_bias_act": {
        "scale_bias_act": scaled_value,
        "scale_bias_act_backward": scaled_backward,
        "scale_bias_act_jvp": scaled_jvp,
    },
    "upfirdn2d": {"upfirdn2d": resampled},
}
SHAPES = ((2, 5, 7, 9), (1, 16, 19, 40))  # an odd one, and one that is dealt to vectors and to several blocks
TYPES = {"cpu": (torch.float32, torch.bfloat16), "cuda": (torch.float32, torch.bfloat16, torch.float16)}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
SLACK = 2e-5  # of the largest number: for sums in float32, in another order

# Operator, x (whose shape the others of its type and layout have), arguments.
Call = tuple[str, Tensor, tuple[Any, ...]]


class DifferenceError(Exception):
    """What an operator does otherwise than its reference, in words."""


def differences(device: torch.device, ops: Any = torch.ops.custom_ops) -> dict[str, str]:
    """What differs, by the name in `REFERENCES`; empty where all is well.

    Args:
        device: where the operators run.
        ops: the namespace of the operators.

    Raises:
        MemoryError, torch.OutOfMemoryError: when memory does not suffice to find out.
    """
    found = {}
    for name, calls in {"bias_act": _curves, "scale_bias_act": _scaled, "upfirdn2d": _resampled}.items():
        try:
            for call in calls(torch.Generator().manual_seed(0)):
                _compare(name, call, device, ops)
        except DifferenceError as difference:
            found[name] = str(difference)
    return found


def _compare(name: str, call: Call, device: torch.device, ops: Any) -> None:
    operator, x, arguments = call
    expected = _tuple(REFERENCES[name][operator](*arguments))
    for dtype in TYPES[device.type]:
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
                    raise DifferenceError(f"{where} differs from itself when it is called again")


def _check(where: str, result: Tensor, wanted: Tensor, dtype: torch.dtype, layout: torch.memory_format | None) -> None:
    """One rounding to the type, and sums of rounded numbers."""
    if result.shape != wanted.shape or (layout is not None and not result.is_contiguous(memory_format=layout)):
        raise DifferenceError(f"{where} has shape {tuple(result.shape)} and strides {result.stride()}")
    if not wanted.numel():
        return
    rounding = torch.finfo(dtype).eps
    allowed = wanted.abs() * rounding + wanted.abs().max() * max(rounding / 4, SLACK)
    off = (result.double() - wanted).abs()
    if not (off <= allowed).all():  # nan is no small difference
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
    """Numbers that every type can hold, in float64."""
    return torch.randn(shape, generator=generator).bfloat16().double()


def _curves(generator: torch.Generator) -> Iterator[Call]:
    for shape in SHAPES:
        x, dy, ddx = (_drawn(generator, *shape) for _ in range(3))
        b = _drawn(generator, shape[1])
        for curve in (("lrelu", 0.2, 1.25, 1.5), ("swish", 0.0, 1.25, None)):
            y = curve_value(x, b, *curve).bfloat16().double()
            yield "bias_act", x, (x, b, *curve)
            saved = y if tells_slope(curve) else x
            yield "bias_act_backward", x, (dy, saved, b, *curve, True)
        yield "bias_act_curvature", x, (dy, ddx, x, b, *curve)


def _scaled(generator: torch.Generator) -> Iterator[Call]:
    curve = ("lrelu", 0.2, 1.25, 1.5)
    for shape in SHAPES:
        N, C, H, W = shape
        x, dy, dx = (_drawn(generator, *shape) for _ in range(3))
        scale, dscale, b = _drawn(generator, N, C), _drawn(generator, N, C), _drawn(generator, C)
        noise = _drawn(generator, N, 1, H, W)
        y = scaled_value(x, scale, noise, b, *curve).bfloat16().double()
        yield "scale_bias_act", x, (x, scale, noise, b, *curve)
        yield "scale_bias_act", x, (x, scale, None, None, "linear", 0.0, 1.0, None)  # of a style
        yield "scale_bias_act_backward", x, (dy, y, x, scale, *curve, True, True, True)
        yield "scale_bias_act_backward", x, (dy, y, None, None, *curve, False, False, True)
        yield "scale_bias_act_jvp", x, (y, dx, x, scale, dscale, noise, b, *curve)


def _resampled(generator: torch.Generator) -> Iterator[Call]:
    """Its derivatives are operators of the same kind, with the two factors exchanged and the filter turned around."""
    blur = setup_filter((1, 3, 3, 1))
    line = _drawn(generator, 12)
    for shape in SHAPES:
        x = _drawn(generator, *shape)
        for up, down, sides in ((1, 1, (2, 1, 1, 2)), (2, 1, (2, 1, 2, 1)), (1, 2, (1, 1, 2, 2))):
            yield "upfirdn2d", x, (x, blur, up, up, down, down, *sides, 1.25, up == 2)
    for up, down in ((2, 1), (1, 2)):
        x = _drawn(generator, 1, 3, 19, 40)
        yield "upfirdn2d", x, (x, line, up, up, down, down, 6, 5, 5, 6, 1.25, down == 2)
    x = _drawn(generator, 2, 5, 7, 9)
    yield "upfirdn2d", x, (x, _drawn(generator, 3, 5), 3, 2, 2, 1, 4, 3, -1, 2, 1.25, False)


def _version() -> str:
    """Changes with every Python file of this room: one of them could change what is found."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()[:16]


PROOF = Proof(differences, REFERENCES, _version())
