"""How fast the native operators are, beside their reference in plain PyTorch and beside a copy of the same bytes.

`python -m benchmarks.kernels`

Every operator is timed forward, backward (the gradients of its inputs) and double backward (the gradient of the
output's gradient, as R1 and path lengths need it). Native kernel, reference and copy take turns in one process. On CUDA
every call is captured in a CUDA graph, so the time of Python is left out, and the cache is emptied before each call.

The share of the copy says how close a kernel is to the limit of the memory: the time in which `y.copy_(x)` moves the
bytes that the operator must read and write, divided by the operator's time.
"""

import json
import math
import platform
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from statistics import median
from typing import Any, Literal

import click
import torch
from torch import Tensor
from torch.library import Library, get_kernel

from benchmarks.timing import graph_seconds, own_stream, timed
from custom_ops import bias_act, build, downsample2d, filter2d, scale_bias_act, setup_filter, upsample2d
from torch_utils.cli import Command, option, progress, say
from torch_utils.device import keep_freed_memory, resolve_device
from training.augment.wavelets import SYM6

Direction = Literal["forward", "backward", "double"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward", "double")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
SHAPES = ("64x256x256", "256x64x64")
BLOCK = 0.002  # seconds, at least, of the calls that are timed together
UNSERVED = "XPU"  # a type of device without native kernels
EXAMPLES = """
Examples:
  python -m benchmarks.kernels
  python -m benchmarks.kernels --operator bias_act --dtype bfloat16 --layout channels_last
  python -m benchmarks.kernels --device cuda --batch 32 --json
"""


@dataclass(frozen=True)
class Operator:
    """An operator to time."""

    call: Callable[..., Tensor]  # (x, *parameters) -> y
    parameters: Callable[[Tensor], tuple[Tensor, ...]]
    traffic: dict[Direction, tuple[int, int]]  # tensors of the size of x, and of y, that must be read or written


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
    """Seconds of one case. `native` is the reference again if there is no native kernel."""

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
        """Share of the bandwidth of a copy."""
        return self.copy / self.native


@contextmanager
def reference(device_type: str) -> Iterator[None]:
    """Let the reference replace native kernels on a type of device within the block, also in backward passes."""
    library, has = Library("custom_ops", "IMPL"), torch._C._dispatch_has_kernel_for_dispatch_key
    key = device_type.upper()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="(?s).*[Oo]verrid")  # on purpose
            for name in torch._C._dispatch_get_all_op_names():
                if name.startswith("custom_ops::") and has(name, "CompositeExplicitAutograd") and has(name, key):
                    plain = partial(_call_boxed, get_kernel(name, UNSERVED))
                    library.impl(name.removeprefix("custom_ops::"), plain, key, with_keyset=True, allow_override=True)
        yield
    finally:
        library._destroy()


def _call_boxed(kernel: Any, keys: Any, *inputs: Any) -> Any:
    return kernel.call_boxed(keys, *inputs)


def measure(case: Case, device: torch.device, rounds: int) -> Timing:
    """Medians of rounds in which native kernel, reference and copy take turns. The first round is not counted."""
    with own_stream(device):
        N, C, H, W = case.shape
        dtype, layout = DTYPES[case.dtype], LAYOUTS[case.layout]
        x = torch.randn(N, C, H, W, device=device).to(dtype).contiguous(memory_format=layout).requires_grad_()
        operator = OPERATORS[case.operator]
        parameters = operator.parameters(x)
        y = operator.call(x, *parameters)
        times = operator.traffic[case.direction]
        size = (times[0] * x.numel() + times[1] * y.numel()) * x.element_size()
        target, source = torch.empty(2, size // 2, dtype=torch.uint8, device=device).fill_(1)
        calls: dict[str, Callable[[], Any]] = {
            "native": prepared(operator, case.direction, x, parameters),
            "copy": partial(target.copy_, source),
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
    """The call to time. Everything before it in the graph is computed once, here."""
    if direction == "forward":
        return torch.no_grad()(partial(operator.call, x, *parameters))
    learned = [t for t in (x, *parameters) if t.requires_grad]
    y = operator.call(x, *parameters)
    dy = torch.randn_like(y).requires_grad_()
    if direction == "backward":
        return partial(torch.autograd.grad, y, learned, dy, retain_graph=True)
    (dx,) = torch.autograd.grad(y, x, dy, create_graph=True)
    return partial(torch.autograd.grad, dx, dy, torch.randn_like(dx), retain_graph=True)


def mean_duration(call: Callable[[], Any], device: torch.device) -> float:
    """Mean seconds of a call, over as many calls as fill a block. On CUDA without the time of Python."""
    if device.type == "cuda":
        return graph_seconds(call, device)
    count = max(math.ceil(BLOCK / max(timed(call, device), 1e-6)), 1)
    return timed(lambda: [call() for _ in range(count)], device) / count


def cases(
    operators: Sequence[str],
    directions: Sequence[Direction],
    shapes: Sequence[tuple[int, int, int, int]],
    dtypes: Sequence[str],
    layouts: Sequence[str],
) -> list[Case]:
    """Every combination."""
    every = product(operators, shapes, dtypes, layouts, directions)
    return [Case(name, direction, shape, dtype, layout) for name, shape, dtype, layout, direction in every]


def parse_shape(text: str, batch: int) -> tuple[int, int, int, int]:
    """`64x256x256` -> (batch, 64, 256, 256)."""
    parts = text.split("x")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"--shape {text}: give channels, height and width, such as {SHAPES[0]}")
    C, H, W = map(int, parts)
    return batch, C, H, W


def several(flag: str, choices: Iterable[str], help: str, default: Sequence[str] | None = None) -> Callable[..., Any]:
    """An option that chooses some of several values. The default is all."""
    names = list(choices)
    return option(
        flag,
        f"{flag.removeprefix('--')}s",
        type=click.Choice(names),
        multiple=True,
        default=names if default is None else default,
        group="Cases",
        help=f"{help}; give the option again for more",
    )


@click.command(cls=Command, epilog=EXAMPLES)
@several("--operator", OPERATORS, "operator to time")
@several("--direction", DIRECTIONS, "values, gradients, or gradients of gradients")
@several("--dtype", DTYPES, "dtype of the features", ["float32", "bfloat16"])
@several("--layout", LAYOUTS, "memory format of the features")
@option("--shape", "shapes", multiple=True, default=SHAPES, metavar="CxHxW", group="Cases", help="channels and size")
@option("--batch", type=click.IntRange(min=1), default=4, group="Cases", help="samples; 32 or more on a GPU")
@option("--rounds", type=click.IntRange(min=1), default=5, group="Measurement", help="timings; medians are printed")
@option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="cpu", group="Machine", help="compute device")
@option("--threads", type=click.IntRange(min=1), default=2, group="Machine", help="CPU threads")
@option("--json", "as_json", is_flag=True, group="Measurement", help="print JSON instead of a table")
def main(
    shapes: tuple[str, ...], batch: int, rounds: int, device: str, threads: int, as_json: bool, **some: Any
) -> None:
    """Time the operators: native kernels, their reference and copies of the same bytes, by turns."""
    where = resolve_device(device)
    torch.set_num_threads(threads)
    keep_freed_memory()
    chosen = cases(shapes=[parse_shape(shape, batch) for shape in shapes], **some)
    found = [measure(case, where, rounds) for case in progress(chosen, len(chosen), "kernels")]
    if as_json:
        say(json.dumps([asdict(t) | {"ratio": t.ratio, "share": t.share} for t in found]))
    else:
        say(table(found, where))


def table(found: list[Timing], device: torch.device) -> str:
    """Timings as text."""
    heads = "operator|direction|features|type|layout|native, ms|reference, ms|times|GB/s|copy"
    rows: list[Sequence[str]] = [heads.split("|")]
    for t in found:
        case = (t.case.operator, t.case.direction, "x".join(map(str, t.case.shape)), t.case.dtype, t.case.layout)
        times = (f"{t.native * 1e3:.3f}", f"{t.reference * 1e3:.3f}", f"{t.ratio:.2f}")
        rows.append((*case, *times, f"{t.bytes / t.native / 1e9:.1f}", f"{t.share:.0%}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [described(device), *filter(None, [build.shortfall(device)]), ""]
    for row in rows:
        cells = [cell.ljust(n) if i < 5 else cell.rjust(n) for i, (cell, n) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def described(device: torch.device) -> str:
    """The machine, and the operators that it uses."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    operators = f"{build.implementation(device)} operators"
    return f"{device.type} ({platform.machine()}), {name}, PyTorch {torch.__version__}, {operators}"


if __name__ == "__main__":
    main()
