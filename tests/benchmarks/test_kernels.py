import json
from functools import partial

import pytest
import torch
from click.testing import CliRunner

from benchmarks import kernels
from benchmarks.kernels import OPERATORS, Case, Timing, cases, measure, parse_shape, prepared, reference

TINY = "--shape 8x4x6 --batch 2 --rounds 1 --threads 1"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(kernels, "BLOCK", 0.0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def operator():
    """An operator of the test's own, with a reference and something that plays the native kernel; tells who served."""
    served = []
    with torch.library._scoped_library("custom_ops", "FRAGMENT") as library:
        library.define("benchmarked(Tensor x, float k, bool loud=False) -> Tensor")

        def serve(who, x, k, loud=False):
            served.append(who)
            return x * k

        library.impl("benchmarked", partial(serve, "reference"), "CompositeExplicitAutograd")
        library.impl("benchmarked", partial(serve, "native"), "CPU")
        yield torch.ops.custom_ops.benchmarked.default, served


def test_the_reference_serves_within_the_block_and_the_native_kernel_after_it(operator):
    call, served = operator
    x = torch.ones(3)
    for _ in range(2):
        call(x, 2.0)
        with reference("cpu"):
            assert call(x, 2.0, loud=True).tolist() == [2, 2, 2]
    call(x, 2.0)
    assert served == ["native", "reference"] * 2 + ["native"]


def test_the_native_kernel_comes_back_when_something_fails(operator):
    call, served = operator
    with pytest.raises(RuntimeError, match="on purpose"), reference("cpu"):
        raise RuntimeError("on purpose")
    call(torch.ones(1), 1.0)
    assert served == ["native"]


def test_the_reference_serves_passes_backward(operator):
    call, served = operator

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return call(x, 2.0)

        @staticmethod
        def backward(ctx, dy):
            return call(dy, 2.0)

    x = torch.ones(3, requires_grad=True)
    with reference("cpu"):
        Twice.apply(x).sum().backward()
    assert served == ["reference", "reference"] and x.grad is not None and x.grad.tolist() == [2, 2, 2]


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_what_is_timed_are_the_derivatives(name, layout):
    """The value, a gradient of each input, and that of dy: for what is linear in dy, the way of dx back."""
    torch.manual_seed(0)
    x = torch.randn(2, 4, 6, 8, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    operator = OPERATORS[name]
    parameters = operator.parameters(x)
    y = operator.call(x, *parameters)
    assert torch.equal(prepared(operator, "forward", x, parameters)(), y)
    call = prepared(operator, "backward", x, parameters)
    dy = call.args[2]
    grads = call()
    wanted = torch.autograd.grad(y, [x, *(t for t in parameters if t.requires_grad)], dy)
    assert len(grads) == len(wanted) and all(torch.allclose(a, b) for a, b in zip(grads, wanted, strict=True))
    call = prepared(operator, "double", x, parameters)
    dx, dy, ddx = call.args
    (ddy,) = call()
    assert ddy.shape == y.shape
    assert torch.allclose((ddy * dy).sum(), (ddx * dx).sum())  # dx = A dy, so ddy = A^T ddx


def test_traffic_is_what_must_be_read_and_written():
    x = torch.randn(1, 2, 8, 8)
    sizes = {
        "bias_act": 128,
        "scale_bias_act": 128,
        "filter2d": 128,
        "upsample2d": 512,
        "downsample2d": 32,
        "upsample2d wavelet": 512,
        "downsample2d wavelet": 32,
    }
    for name, operator in OPERATORS.items():
        case = Case(name, "forward", (1, 2, 8, 8), "float32", "NCHW")
        assert operator.call(x, *operator.parameters(x)).numel() == sizes[name]
        assert measure(case, torch.device("cpu"), 1).bytes == 4 * (128 + sizes[name])
    backward = measure(Case("bias_act", "backward", (1, 2, 8, 8), "bfloat16", "NCHW"), torch.device("cpu"), 1)
    assert backward.bytes == 2 * 3 * 128


def test_ratios_are_of_medians_without_the_first_round(monkeypatch):
    durations = {"native": [9.0, 1.0, 3.0, 2.0], "copy": [9.0, 0.5, 0.5, 7.0], "reference": [9.0, 8.0, 6.0, 7.0]}
    turns = iter([seconds[i] for i in range(4) for seconds in durations.values()])
    monkeypatch.setattr(kernels, "mean_duration", lambda call, device: next(turns))
    found = measure(Case("bias_act", "forward", (1, 2, 4, 4), "float32", "NCHW"), torch.device("cpu"), 3)
    assert (found.native, found.copy, found.reference) == (2.0, 0.5, 7.0)
    assert found.ratio == 3.5 and found.share == 0.25


def test_cases_are_all_combinations():
    found = cases(["bias_act", "filter2d"], ["forward", "double"], [(1, 2, 3, 4)], ["float32"], ["NCHW"])
    assert [str(case) for case in found] == [
        "bias_act forward 1x2x3x4 float32 NCHW",
        "bias_act double 1x2x3x4 float32 NCHW",
        "filter2d forward 1x2x3x4 float32 NCHW",
        "filter2d double 1x2x3x4 float32 NCHW",
    ]
    assert parse_shape("64x32x16", 4) == (4, 64, 32, 16)


def test_prints_a_table_or_json():
    table = CliRunner().invoke(kernels.main, [*TINY.split(), "--direction", "forward"])
    assert table.exit_code == 0, table.output
    assert len(table.stdout.splitlines()) >= 3 + len(OPERATORS) * 2 * 2
    for words in ("1 threads, PyTorch", " operators", "2x8x4x6", "bfloat16  channels_last"):
        assert words in table.output
    some = ["--operator", "bias_act", "--direction", "double", "--dtype", "float32", "--json"]
    found = json.loads(CliRunner().invoke(kernels.main, [*TINY.split(), *some]).stdout)
    assert [timing["case"]["layout"] for timing in found] == ["NCHW", "channels_last"]
    assert all(timing["ratio"] == Timing(**{k: timing[k] for k in KEYS}).ratio for timing in found)


KEYS = ("case", "native", "reference", "copy", "bytes")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--shape 64", "--shape 64: give channels, height and width, such as 64x256x256"),
        ("--shape 0x4x4", "--shape 0x4x4: give channels, height and width"),
    ],
)
def test_refuses_in_one_sentence(flags, words):
    result = CliRunner().invoke(kernels.main, flags.split())
    assert result.exit_code == 2
    assert words in result.output and "Traceback" not in result.output
