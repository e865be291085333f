"""Compares every native operator with its reference in plain PyTorch, on a device, in some milliseconds.

Compared are values and derivatives, in the dtypes and memory formats in use. Inputs are exact in every dtype, and the
reference is computed in float64 on the CPU: neither TF32 nor errors of another library can hide or cause a difference.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from custom_ops.scale_bias_act import OPERATORS
from custom_ops.upfirdn2d import reference as resampled
from custom_ops.upfirdn2d import setup_filter
from custom_ops.winograd import OPERATORS as WINOGRAD

REFERENCES: dict[str, Callable[..., Any]] = {name: reference for name, (_, reference) in (OPERATORS | WINOGRAD).items()}
REFERENCES["upfirdn2d"] = resampled
SHAPES = ((2, 5, 7, 9), (1, 16, 19, 40))  # odd numbers, and a tensor of whole vectors and several blocks
DTYPES = {"cpu": (torch.float32, torch.bfloat16), "cuda": (torch.float32, torch.bfloat16, torch.float16)}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
SLACK = 2e-5  # of the largest number: for float32 sums in another order

CURVE = (0.2, 1.25, 1.5)

Call = tuple[str, tuple[Any, ...]]  # the name of an operator, and its arguments


def difference(device: torch.device, ops: Any = torch.ops.custom_ops) -> str:
    """How an operator of a namespace differs from its reference on a device, in words. Empty if all agree."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        """Random numbers that are exact in every dtype, in float64."""
        return torch.randn(shape, generator=generator).bfloat16().double()

    every = [(shape, call) for shape in SHAPES for call in calls(shape, draw).values()]
    for shape, (operator, arguments) in every:
        if operator in WINOGRAD and device.type != "cpu":
            continue
        expected = as_tuple(REFERENCES[operator](*arguments))
        for dtype, layout in product(DTYPES[device.type], LAYOUTS):
            inputs = prepared(arguments, shape, dtype, layout, device)
            where = f"{operator} of {str(dtype).removeprefix('torch.')} {'x'.join(map(str, shape))} {layout}"
            try:
                first, second = (as_tuple(getattr(ops, operator)(*inputs)) for _ in range(2))
                results = [(a.cpu(), torch.equal(a, b)) for a, b in zip(first, second, strict=True)]
            except (MemoryError, torch.OutOfMemoryError):
                raise
            except Exception as error:
                return f"{where} raises {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            for (result, repeats), wanted in zip(results, expected, strict=True):
                has_channels = wanted.ndim == 4 and wanted.shape[1] == shape[1]
                kept = LAYOUTS[layout] if has_channels else None
                if why := _fault(result, wanted, dtype, torch.channels_last if operator in WINOGRAD else kept):
                    return f"{where} {why}"
                if not repeats:
                    return f"{where} gives another result when it is called again"
    return ""


def _fault(result: Tensor, wanted: Tensor, dtype: torch.dtype, layout: torch.memory_format | None) -> str:
    """What is wrong with a result. Allows for one rounding to the dtype, and for sums of rounded numbers."""
    if result.shape != wanted.shape or (layout is not None and not result.is_contiguous(memory_format=layout)):
        return f"has shape {tuple(result.shape)} and strides {result.stride()}"
    if not wanted.numel():
        return ""
    rounding = torch.finfo(dtype).eps
    allowed = wanted.abs() * rounding + wanted.abs().max() * max(rounding / 4, SLACK)
    off = (result.double() - wanted).abs()
    if (off <= allowed).all():  # NaN counts as a difference
        return ""
    return f"is off by {off.max():.2g} where {wanted.abs().max():.2g} is the largest number"


def calls(shape: tuple[int, int, int, int], draw: Callable[..., Tensor]) -> dict[str, Call]:
    """Calls of every operator on features of a shape [N, C, H, W], with tensors that `draw` makes; by title.

    The derivatives of upfirdn2d are the same operator with other arguments. Winograd convolutions exist for the CPU and
    in float32 only.
    """
    N, C, H, W = shape
    x, dy, dx = (draw(*shape) for _ in range(3))
    scale, dscale, noise, b, line = draw(N, C), draw(N, C), draw(N, 1, H, W), draw(C), draw(12).float()
    blur, odd = (setup_filter(taps, device=x.device) for taps in ((1, 3, 3, 1), (1, 3, 2)))
    y = REFERENCES["scale_bias_act"](x, scale, noise, b, *CURVE).bfloat16().to(x.dtype)
    found: dict[str, Call] = {
        "bias_act": ("scale_bias_act", (x, None, None, b, *CURVE)),
        "bias_act backward": ("scale_bias_act_backward", (dy, y, None, None, *CURVE, False, False, True)),
        "scale alone": ("scale_bias_act", (x, scale, None, None, 1.0, 1.0, None)),
        "scale_bias_act": ("scale_bias_act", (x, scale, noise, b, *CURVE)),
        "scale_bias_act backward": ("scale_bias_act_backward", (dy, y, x, scale, *CURVE, True, True, True)),
        "scale_bias_act tangent": ("scale_bias_act_jvp", (y, dx, x, scale, dscale, noise, b, *CURVE)),
        "odd filter": ("upfirdn2d", (x, odd, 3, 2, 4, 3, -1, 2, 1.25, False)),
    }
    for title, up, down, sides in (
        ("filter", 1, 1, (2, 1, 1, 2)),
        ("upsample", 2, 1, (2, 1, 2, 1)),
        ("downsample", 1, 2, (1, 1, 2, 2)),
    ):
        found[f"{title}2d"] = ("upfirdn2d", (x, blur, up, down, *sides, 1.25, up == 2))
        found[f"{title}2d, 12 taps"] = ("upfirdn2d", (x, line, up, down, 6, 5, 5, 6, 1.25, down == 2))
    inner, w, outer = draw(N, 64, H, W), draw(32, 64, 3, 3), draw(N, 32, H, W)
    for tile in (2, 4):
        found[f"winograd {tile}"] = ("winograd", (inner, w, 1, False, tile))
        found[f"winograd {tile} backward"] = ("winograd", (outer, w, 1, True, tile))
        found[f"winograd {tile} weights"] = ("winograd_weights", (outer, inner, 1, tile))
    return found


def prepared(arguments: Any, shape: Any, dtype: torch.dtype, layout: str, device: torch.device) -> list[Any]:
    """Arguments on a device: tensors of a shape with a dtype and one of `LAYOUTS`, other tensors in float32."""

    def placed(a: Any) -> Any:
        if not isinstance(a, Tensor):
            return a
        if a.shape != shape:
            return a.to(device, torch.float32)
        return a.to(device, dtype).contiguous(memory_format=LAYOUTS[layout])

    return [placed(a) for a in arguments]


def as_tuple(results: Any) -> Sequence[Tensor]:
    """The results of an operator that may have one."""
    return (results,) if isinstance(results, Tensor) else results
