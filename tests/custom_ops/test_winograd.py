"""Winograd convolutions against PyTorch in float64: values, derivatives, bits, and which convolutions they are."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from custom_ops import build, winograd
from custom_ops.convolution import convolve

native = pytest.mark.skipif(
    not winograd._CAPABLE or build.implementation("cpu") != "native", reason="needs native operators and AVX2"
)
LAST = torch.channels_last
# N, I, O, H, W, padding: sizes that tiles do not divide, channels of one panel, of part of a block and of several.
SHAPES = [
    (1, 32, 32, 4, 4, 1),
    (2, 32, 64, 5, 7, 1),
    (3, 64, 32, 9, 11, 1),
    (2, 32, 96, 8, 8, 0),
    (1, 32, 32, 13, 17, 2),
    (2, 64, 288, 10, 6, 1),
    (1, 288, 64, 12, 12, 1),
    (1, 160, 192, 60, 50, 1),
    (2, 32, 32, 33, 47, 1),
]
ERROR = {2: 2e-6, 4: 6e-6}  # of the largest number


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def numbers(*size: int) -> torch.Tensor:
    return torch.randn(size).contiguous(memory_format=LAST)


def operands(N, I, O, H, W, padding):
    torch.manual_seed(0)
    more = 2 * padding - 2
    return numbers(N, I, H, W), numbers(O, I, 3, 3), numbers(N, O, H + more, W + more)


def all_three(x, w, gy, padding, tile):
    return (
        winograd.convolve(x, w, padding, False, tile),
        winograd.convolve(gy, w, padding, True, tile),
        winograd.gradient_of_weights(gy, x, padding, tile),
    )


def error(result, wanted) -> float:
    result, wanted = result.detach().double(), wanted.detach()
    return float((result - wanted).abs().max() / wanted.abs().max())


@native
@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_pytorch_in_float64(shape, tile):
    x, w, gy = operands(*shape)
    padding = shape[-1]
    wide_x, wide_w = (t.double().requires_grad_() for t in (x, w))
    y = F.conv2d(wide_x, wide_w, padding=padding)
    wanted = (y.detach(), *torch.autograd.grad(y, (wide_x, wide_w), gy.double()))
    for result, each in zip(all_three(x, w, gy, padding, tile), wanted, strict=True):
        assert result.is_contiguous(memory_format=LAST) and error(result, each) < ERROR[tile]


@native
@pytest.mark.parametrize("shape", [(1, 64, 64, 33, 20, 1), (1, 288, 64, 12, 12, 1), (1, 512, 32, 16, 16, 1)])
def test_small_tiles_are_more_exact_than_ordinary_convolutions(shape):
    x, w, gy = operands(*shape)
    wanted = F.conv2d(x.double(), w.double(), padding=shape[-1])
    ordinary = (F.conv2d(x, w, padding=shape[-1]).double() - wanted).norm()
    small, large = ((all_three(x, w, gy, shape[-1], tile)[0].double() - wanted).norm() for tile in (2, 4))
    assert small < ordinary < large < 3 * ordinary


@native
def test_contiguous_operands_and_references():
    x, w, gy = operands(2, 64, 32, 9, 8, 1)
    others = [t.contiguous() for t in (x, w, gy)]
    for tile in (2, 4):
        for one, other in zip(all_three(x, w, gy, 1, tile), all_three(*others, 1, tile), strict=True):
            assert torch.equal(one, other)
    references = winograd.reference(x, w, 1, False), winograd.reference(gy, w, 1, True)
    for result, wanted in zip(
        all_three(x, w, gy, 1, 4), (*references, winograd.reference_weights(gy, x, 1)), strict=True
    ):
        torch.testing.assert_close(result, wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("tile", [2, 4])
def test_opcheck(tile):
    x, w, gy = operands(1, 32, 64, 8, 9, 0)
    tests = "test_schema", "test_faketensor"
    torch.library.opcheck(winograd.convolve, (x, w, 0, False, tile), test_utils=tests)
    torch.library.opcheck(winograd.convolve, (gy, w, 0, True, tile), test_utils=tests)
    torch.library.opcheck(winograd.gradient_of_weights, (gy, x, 0, tile), test_utils=tests)


@native
@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("shape", [(6, 64, 32, 21, 22, 1), (3, 160, 192, 40, 41, 1)])
def test_bits_depend_on_neither_threads_nor_the_other_images(shape, tile, threads):
    x, w, gy = operands(*shape)
    torch.set_num_threads(1)
    one = all_three(x, w, gy, 1, tile)
    alone = all_three(x[1:2], w, gy[1:2], 1, tile)
    assert torch.equal(alone[0], one[0][1:2]) and torch.equal(alone[1], one[1][1:2])
    for count in (2, 3):
        torch.set_num_threads(count)
        assert all(torch.equal(a, b) for a, b in zip(one, all_three(x, w, gy, 1, tile), strict=True))


@native
def test_concurrent_calls(threads):
    """Of different shapes, so that scratch memory of one would spoil that of another."""
    torch.set_num_threads(2)
    every = [(*operands(*shape), shape[-1], tile) for shape in SHAPES for tile in (2, 4)]
    wanted = [all_three(*each) for each in every]
    with ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            for results, each in zip(pool.map(lambda e: all_three(*e), every), wanted, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(results, each, strict=True))


@native
@pytest.mark.parametrize("size", [8, 17])
def test_second_derivatives(size, monkeypatch):
    """The gradient of |dy/dx|^2 and of |dy/dw|^2 through two layers, as for R1, against float64."""
    monkeypatch.setattr(winograd, "_LEAST_WORK", 0)

    def penalties(x, w, v):
        y = convolve(torch.tanh(convolve(x, w, padding=(1, 1)) * 0.05), v, padding=(1, 1)).square().mean()
        first = torch.autograd.grad(y, (x, w, v), create_graph=True)
        return *first, *torch.autograd.grad(sum(g.square().sum() for g in first), (x, w, v))

    torch.manual_seed(0)
    operands = [numbers(2, 32, size, size), numbers(64, 32, 3, 3), numbers(32, 64, 3, 3)]
    wanted = penalties(*(t.double().requires_grad_() for t in operands))
    with profile(activities=[ProfilerActivity.CPU]) as p:
        results = penalties(*(t.clone().requires_grad_() for t in operands))
    for result, each in zip(results, wanted, strict=True):
        assert error(result, each) < 2e-5
    names = [event.name for event in p.events()]
    assert names.count("custom_ops::winograd") + names.count("custom_ops::winograd_weights") > 12
    assert not {"aten::mkldnn_convolution", "aten::convolution_backward"} & set(names)


@native
def test_which_convolutions_they_are(monkeypatch):
    """By the rule: 3x3, float32, a CPU, channels_last, 32 channels or more, and outputs of 8x8 or larger."""
    tile, work = winograd.tile, winograd._LEAST_WORK
    monkeypatch.setattr(winograd, "_LEAST_WORK", 0)
    x, w, one = numbers(1, 64, 16, 16), numbers(32, 64, 3, 3), (1, 1)
    assert tile(x, w, one) == tile(numbers(5, 64, 16, 16), w, one) == 4
    assert tile(numbers(1, 64, 8, 16), w, one) == tile(numbers(5, 64, 15, 15), w, one) == 2
    assert tile(numbers(1, 64, 10, 10), w, (0, 0)) == 2 and tile(numbers(1, 64, 18, 18), w, (0, 0)) == 4
    assert not tile(numbers(1, 64, 7, 16), w, one) and not tile(numbers(1, 64, 9, 9), w, (0, 0))
    assert not tile(x, w, (1, 0)) and not tile(x, w, (3, 3))
    assert not tile(x, numbers(32, 64, 1, 1), one) and not tile(x, numbers(16, 64, 3, 3), one)
    assert not tile(numbers(1, 48, 16, 16), numbers(32, 48, 3, 3), one)
    assert not tile(numbers(1, 544, 16, 16), numbers(512, 544, 3, 3), one)
    assert not tile(x.double(), w.double(), one) and not tile(x.bfloat16(), w.bfloat16(), one)
    assert not tile(x.contiguous(), w, one) and not tile(x.to("meta"), w.to("meta"), one)
    assert not tile(numbers(0, 64, 16, 16), w, one)
    monkeypatch.setattr(winograd, "_LEAST_WORK", work)
    assert not tile(numbers(8, 64, 32, 32), numbers(64, 64, 3, 3), one)
    assert tile(numbers(1, 64, 64, 64), numbers(64, 64, 3, 3), one) == 4


@native
def test_not_without_native_operators(monkeypatch):
    monkeypatch.setattr(winograd, "_LEAST_WORK", 0)
    x, w = numbers(1, 64, 16, 16), numbers(32, 64, 3, 3)
    assert torch.equal(convolve(x, w, padding=(1, 1)), winograd.convolve(x, w, 1, False, 4))
    monkeypatch.setattr(build, "load", lambda device: False)
    assert torch.equal(convolve(x, w, padding=(1, 1)), F.conv2d(x, w, padding=1))


def test_exported_graphs_have_ordinary_convolutions(monkeypatch):
    monkeypatch.setattr(winograd, "_LEAST_WORK", 0)

    class Layer(torch.nn.Module):
        def forward(self, x, w):
            return convolve(x, w, padding=(1, 1))

    nodes = torch.export.export(Layer(), (numbers(1, 32, 16, 16), numbers(32, 32, 3, 3))).graph.nodes
    assert [str(node.target) for node in nodes if node.op == "call_function"] == ["aten.conv2d.default"]


@native
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((numbers(1, 48, 8, 8), numbers(32, 48, 3, 3), 1, False, 4), "multiple of 32 channels"),
        ((numbers(1, 32, 8, 8).double(), numbers(32, 32, 3, 3).double(), 1, False, 4), "float32"),
        ((numbers(1, 32, 8, 8), numbers(32, 64, 3, 3), 1, False, 4), "same number of channels"),
        ((numbers(1, 32, 8, 8), numbers(32, 32, 3, 3), 3, False, 4), "out of range"),
        ((numbers(1, 32, 8, 8), numbers(32, 32, 3, 3), 1, False, 3), "out of range"),
        ((numbers(1, 32, 8, 8), numbers(32, 32, 1, 1), 1, False, 4), "3, 3"),
    ],
)
def test_operators_refuse_what_they_cannot_compute(arguments, words):
    with pytest.raises(RuntimeError, match=words):
        winograd.convolve(*arguments)
