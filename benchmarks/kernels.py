"""How fast the native operators are, beside their reference and beside copying the same bytes.

`python -m benchmarks.kernels`

Every operator is timed forward, backward (the gradients of its inputs from that of its output) and double backward (the
gradient of its output's gradient from that of x's, as R1 and path lengths need it), on features of a 256x256 network.
Native kernels, reference and a plain copy take turns in one process.

On CUDA every call is captured in a CUDA graph and timed by events, so the host's time is not in it, and the cache is
emptied before each call.

The share of the copy says how near a kernel comes to the limit: the time in which `y.copy_(x)` moves as many bytes as
the operator cannot but read and write, divided by its own.
"""

import json
import math
import platform
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from statistics import median
from typing import Any, Literal

import click
import torch
from torch import Tensor

from benchmarks.device import own_stream, seconds
from benchmarks.reference import reference
from benchmarks.timing import timed
from custom_ops import bias_act, build, downsample2d, filter2d, scale_bias_act, setup_filter, upsample2d
from torch_utils.cli import Command, option, progress, say
from torch_utils.device import keep_freed_memory, resolve_device
from training.augment.wavelets import SYM6

Direction = Literal["forward", "backward", "double"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward", "double")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
SHAPES = ("64x256x256", "256x64x64")
BLOCK = 0.002  # seconds, at the least, of the calls that are timed together
EXAMPLES = """
Examples:
  python -m benchmarks.kernels
  python -m benchmarks.kernels --operator bias_act --dtype bfloat16 --layout channels_last
  python -m benchmarks.kernels --device cuda --batch 32 --json
"""


@dataclass(frozen=True)
class Operator:
    """Something to time."""

    call: Callable[..., Tensor]  # (x, *parameters) -> y
    parameters: Callable[[Tensor], tuple[Tensor, ...]]
    traffic: dict[Direction, tuple[int, int]]  # how often a tensor like x and one like y must be read or written


def _bias(x: Tensor) -> tuple[Tensor, ...]:
    return (torch.randn(x.shape[1], device=x.device, requires_grad=True),)


def _scale_noise_bias(x: Tensor) -> tuple[Tensor, ...]:
    N, C, H, W = x.shape
    return tuple(torch.randn(shape, device=x.device, requires_grad=True) for shape in ([N, C], [N, 1, H, W], [C]))


def _blur(x: Tensor) -> tuple[Tensor, ...]:
    return (setup_filter((1, 3, 3, 1), device=x.device),)


def _wavelet(x: Tensor) -> tuple[Tensor, ...]:
    return (setup_filter(SYM6, separable=True, device=x.device),)


_RESAMPLING: dict[Direction, tuple[int, int]] = dict.fromkeys(DIRECTIONS, (1, 1))
OPERATORS = {
    # Backward: dy, y and dx. Double: ddx, y and ddy.
    "bias_act": Operator(
        partial(bias_act, act="lrelu"), _bias, {"forward": (1, 1), "backward": (1, 2), "double": (1, 2)}
    ),
    # A curved activation keeps x instead. Backward: dy, x and dx. Double: ddx, x and ddy.
    "bias_act swish": Operator(
        partial(bias_act, act="swish"), _bias, {"forward": (1, 1), "backward": (2, 1), "double": (2, 1)}
    ),
    # Backward: dy, y, x (for the gradient of the scale) and dx. Double: ddx, dy (for the scale, likewise), y and ddy.
    "scale_bias_act": Operator(
        partial(scale_bias_act, act="lrelu"),
        _scale_noise_bias,
        {"forward": (1, 1), "backward": (2, 2), "double": (1, 3)},
    ),
    "filter2d": Operator(filter2d, _blur, _RESAMPLING),
    "upsample2d": Operator(upsample2d, _blur, _RESAMPLING),
    "downsample2d": Operator(downsample2d, _blur, _RESAMPLING),
    # The wavelet of augmentations, 12 taps in each direction.
    "upsample2d wavelet": Operator(partial(upsample2d, up=2), _wavelet, _RESAMPLING),
    "downsample2d wavelet": Operator(partial(downsample2d, down=2, flip_filter=True), _wavelet, _RESAMPLING),
}


@dataclass(frozen=True)
class Case:
    """One operator in one direction, on features [N, C, H, W]."""

    operator: str
    direction: Direction
    shape: tuple[int, int, int, int]
    dtype: str
    layout: str

    def __str__(self) -> str:
        return f"{self.operator} {self.direction} {'x'.join(map(str, self.shape))} {self.dtype} {self.layout}"


@dataclass(frozen=True)
class Timing:
    """Seconds of one case. `native` is the reference once more where no native kernel serves."""

    case: Case
    native: float
    reference: float
    copy: float  # of as many bytes
    bytes: int

    @property
    def ratio(self) -> float:
        """How many times as fast as the reference."""
        return self.reference / self.native

    @property
    def share(self) -> float:
        """Of the bandwidth of a copy."""
        return self.copy / self.native


def measure(case: Case, device: torch.device, rounds: int) -> Timing:
    """Medians of rounds in which native kernel, reference and copy take their turn, after one that is not counted."""
    with own_stream(device):
        return _measure(case, device, rounds)


def _measure(case: Case, device: torch.device, rounds: int) -> Timing:
    N, C, H, W = case.shape
    dtype, layout = DTYPES[case.dtype], LAYOUTS[case.layout]
    x = torch.randn(N, C, H, W, device=device).to(dtype).contiguous(memory_format=layout).requires_grad_()
    operator = OPERATORS[case.operator]
    parameters = operator.parameters(x)
    y = operator.call(x, *parameters)
    times = operator.traffic[case.direction]
    size = (times[0] * x.numel() + times[1] * y.numel()) * x.element_size()
    calls: dict[str, Callable[[], Any]] = {
        "native": prepared(operator, case.direction, x, parameters),
        "copy": partial(_copy, *torch.empty(2, size // 2, dtype=torch.uint8, device=device).fill_(1)),
    }
    with reference(device.type):
        calls["reference"] = prepared(operator, case.direction, x, parameters)
    durations: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            with reference(device.type) if name == "reference" else nullcontext():
                duration = mean_duration(call, device)
            if turn:
                durations[name].append(duration)
    return Timing(case, **{name: median(each) for name, each in durations.items()}, bytes=size)


def prepared(operator: Operator, direction: Direction, x: Tensor, parameters: tuple[Tensor, ...]) -> Callable[[], Any]:
    """What is timed: everything that comes before it in the graph is computed once."""
    if direction == "forward":
        return torch.no_grad()(partial(operator.call, x, *parameters))
    learned = [t for t in (x, *parameters) if t.requires_grad]
    y = operator.call(x, *parameters)
    dy = torch.randn_like(y).requires_grad_()
    if direction == "backward":
        return partial(torch.autograd.grad, y, learned, dy, retain_graph=True)
    (dx,) = torch.autograd.grad(y, x, dy, create_graph=True)
    return partial(torch.autograd.grad, dx, dy, torch.randn_like(dx), retain_graph=True)


def _copy(target: Tensor, source: Tensor) -> None:
    target.copy_(source)


def mean_duration(call: Callable[[], Any], device: torch.device) -> float:
    """Seconds of a call, of as many one after the other as fill a block; on CUDA without the host's time."""
    if device.type == "cuda":
        return seconds(call, device)
    count = max(math.ceil(BLOCK / max(timed(call, device), 1e-6)), 1)
    return timed(partial(_repeat, call, count), device) / count


def _repeat(call: Callable[[], Any], count: int) -> None:
    for _ in range(count):
        call()


def cases(
    operators: Sequence[str],
    directions: Sequence[Direction],
    shapes: Sequence[tuple[int, int, int, int]],
    dtypes: Sequence[str],
    layouts: Sequence[str],
) -> list[Case]:
    """Every combination, ordered for the eye."""
    every = product(operators, shapes, dtypes, layouts, directions)
    return [Case(name, direction, shape, dtype, layout) for name, shape, dtype, layout, direction in every]


def parse_shape(text: str, batch: int) -> tuple[int, int, int, int]:
    """`64x256x256` -> (batch, 64, 256, 256)."""
    parts = text.split("x")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"--shape {text}: write channels, height and width such as {SHAPES[0]}")
    C, H, W = map(int, parts)
    return batch, C, H, W


def several(flag: str, choices: Iterable[str], help: str, default: Sequence[str] | None = None) -> Callable[..., Any]:
    """An option that picks some of the choices, all of them by default."""
    names = list(choices)
    return option(
        flag,
        f"{flag.removeprefix('--')}s",
        type=click.Choice(names),
        multiple=True,
        default=names if default is None else default,
        group="Cases",
        help=f"{help}. May be given several times.",
    )


@click.command(cls=Command, epilog=EXAMPLES)
@several("--operator", OPERATORS, "What is timed")
@several("--direction", DIRECTIONS, "Values, gradients, or gradients of gradients")
@several("--dtype", DTYPES, "Type of the features", ["float32", "bfloat16"])
@several("--layout", LAYOUTS, "Memory format of the features")
@option("--shape", "shapes", multiple=True, default=SHAPES, metavar="CxHxW", group="Cases", help="Channels and size.")
@option("--batch", type=click.IntRange(min=1), default=4, group="Cases", help="Samples; a GPU wants 32 or more.")
@option(
    "--rounds", type=click.IntRange(min=1), default=5, group="Measurement", help="Timings, of which medians are told."
)
@option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="cpu", group="Machine", help="Where to compute."
)
@option("--threads", type=click.IntRange(min=1), default=2, group="Machine", help="Of the CPU.")
@option("--json", "as_json", is_flag=True, group="Measurement", help="Print JSON instead of a table.")
def main(
    shapes: tuple[str, ...], batch: int, rounds: int, device: str, threads: int, as_json: bool, **some: Any
) -> None:
    """Time the operators: native kernels, their reference and copies of the same bytes, by turns."""
    where = resolve_device(device)
    torch.set_num_threads(threads)
    keep_freed_memory()
    chosen = cases(shapes=[parse_shape(shape, batch) for shape in shapes], **some)
    found = [measure(case, where, rounds) for case in progress(chosen, len(chosen), "kernels")]
    say(
        json.dumps([asdict(t) | {"ratio": t.ratio, "share": t.share} for t in found])
        if as_json
        else table(found, where)
    )


def table(found: list[Timing], device: torch.device) -> str:
    """Timings as text."""
    heads = "operator|direction|features|type|layout|native, ms|reference, ms|times|GB/s|copy"
    rows: list[Sequence[str]] = [heads.split("|")]
    for t in found:
        case = (t.case.operator, t.case.direction, "x".join(map(str, t.case.shape)), t.case.dtype, t.case.layout)
        times = (f"{t.native * 1e3:.3f}", f"{t.reference * 1e3:.3f}", f"{t.ratio:.2f}")
        rows.append((*case, *times, f"{t.bytes / t.native / 1e9:.1f}", f"{t.share:.0%}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [described(device), build.shortfall(device), ""] if build.shortfall(device) else [described(device), ""]
    for row in rows:
        cells = [cell.ljust(n) if i < 5 else cell.rjust(n) for i, (cell, n) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def described(device: torch.device) -> str:
    """The machine and what computes on it."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    operators = f"{build.implementation(device)} operators"
    return f"{device.type} ({platform.machine()}), {name}, PyTorch {torch.__version__}, {operators}"


if __name__ == "__main__":
    main()
