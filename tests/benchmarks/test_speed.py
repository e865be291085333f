from functools import partial

import pytest
import torch
import torch.nn.functional as F

from benchmarks import speed
from custom_ops import convolution, setup_filter, upsample2d
from custom_ops.convolution import convolve

X = torch.randn(2, 8, 6, 10)


def _conv(**kwargs):
    return lambda: F.conv2d(X, torch.randn(16, 8 // kwargs.get("groups", 1), 3, 3), **kwargs)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (_conv(padding=1), 2 * 9 * 8 * 16 * 2 * 60),
        (_conv(padding=1, stride=2), 2 * 9 * 8 * 16 * 2 * 15),
        (_conv(padding=1, groups=4), 2 * 9 * 8 * 16 * 2 * 60 / 4),
        (lambda: F.conv_transpose2d(X, torch.randn(8, 16, 3, 3), stride=2), 2 * 9 * 8 * 16 * 2 * 60),
        (lambda: upsample2d(X, setup_filter([1, 3, 3, 1])), 0),
        (lambda: F.linear(torch.randn(5, 7), torch.randn(11, 7), torch.randn(11)), 2 * 5 * 7 * 11),
        (lambda: torch.randn(3, 5, 7) @ torch.randn(3, 7, 11), 2 * 3 * 5 * 7 * 11),
        (lambda: X * X + 1, 0),
    ],
)
def test_counts_products_and_convolutions(call, expected):
    assert speed.operations(call) == expected
    with torch.no_grad():
        assert speed.operations(call) == expected


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("of_x", "of_w"), [(True, True), (False, True), (True, False)])
def test_each_gradient_costs_as_much_as_the_convolution(transposed, of_x, of_w):
    x, w = X.clone().requires_grad_(of_x), torch.randn(8, 8, 3, 3, requires_grad=of_w)
    call = F.conv_transpose2d if transposed else F.conv2d
    forward = speed.operations(lambda: call(x, w, stride=2))
    assert speed.operations(lambda: call(x, w, stride=2).sum().backward()) == forward * (1 + of_x + of_w)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_gradient_by_products_costs_as_much_as_by_convolution(transposed, monkeypatch):
    """However many rows of zeros the products have."""
    w = torch.randn(8, 8, 3, 3, requires_grad=True)
    call = partial(convolve, transposed=transposed)
    counts = []
    for preferred in (True, False):
        monkeypatch.setattr(convolution, "_prefers_products", lambda *_, answer=preferred: answer)
        counts.append(speed.operations(lambda: call(X, w, stride=2).sum().backward()))
    assert counts[0] == counts[1] > 0


def test_filters_cost_nothing_however_often_they_are_differentiated():
    x, f = X.clone().requires_grad_(True), setup_filter([1, 3, 3, 1])

    def call():
        y = upsample2d(x, f).square().sum()
        (gradient,) = torch.autograd.grad(y, x, create_graph=True)
        gradient.square().sum().backward()

    assert speed.operations(call) == 0


def test_the_peak_is_the_fastest_shape(monkeypatch):
    monkeypatch.setattr(speed, "PEAK_CHANNELS", (4, 8))
    monkeypatch.setattr(speed, "PEAK_SIZES", (4,))
    monkeypatch.setitem(speed.PEAK_BATCHES, "cpu", (1, 2))

    def seconds(call, budget, device):
        y = call()
        return y.shape[1] / (100 if y.is_contiguous() else 200)  # whatever the batch: so the larger one is faster

    monkeypatch.setattr(speed, "fastest", seconds)
    shape, peak = speed.convolution_peak(torch.device("cpu"), torch.float32)
    assert shape == "a 3x3 convolution of 2 images of 8 x 4 x 4, float32, channels_last"
    assert peak == pytest.approx(2 * 9 * 64 * 2 * 16 / 0.04)


def test_the_first_round_is_not_counted(monkeypatch):
    durations = iter([100.0, 100.0, 1.0, 4.0, 3.0, 5.0, 2.0, 6.0])
    monkeypatch.setattr(speed, "timed", lambda call, device: next(durations))
    medians = speed.timings({"a": lambda i: None, "b": lambda i: None}, 3, torch.device("cpu"))
    assert medians == {"a": 2, "b": 5}
