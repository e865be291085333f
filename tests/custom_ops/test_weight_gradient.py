"""The weights' gradient as matrix products, against PyTorch's own."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from custom_ops import convolution as module
from custom_ops.convolution import Geometry, convolve

weight_gradient = torch.ops.custom_ops.weight_gradient

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def theirs(gy, x, kernel, stride, padding):
    w = torch.zeros(gy.shape[1], x.shape[1], *kernel, dtype=x.dtype, requires_grad=True)
    return torch.autograd.grad(F.conv2d(x, w, stride=stride, padding=padding), w, gy)[0]


@pytest.mark.parametrize("together", [1, 2**14])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel, stride, padding", [
    ((3, 3), (1, 1), (1, 1)),
    ((3, 3), (1, 1), (0, 0)),
    ((3, 3), (2, 2), (0, 0)),
    ((3, 3), (2, 2), (1, 1)),
    ((2, 3), (1, 1), (1, 0)),
    ((3, 5), (2, 3), (2, 1)),
    ((1, 1), (1, 1), (0, 0)),
    ((1, 1), (2, 2), (0, 0)),
])  # fmt: skip
def test_equals_pytorch(kernel, stride, padding, layout, together, monkeypatch):
    """Also where rows and columns at the end are left out by the stride, and image by image."""
    monkeypatch.setattr(module, "_ROWS", together)
    torch.manual_seed(0)
    x = torch.randn(3, 5, 9, 12, dtype=torch.float64).contiguous(memory_format=layout)
    size = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip((9, 12), padding, kernel, stride, strict=True)]
    gy = torch.randn(3, 4, *size, dtype=torch.float64).contiguous(memory_format=layout)
    gw = weight_gradient(gy, x, kernel, stride, padding)
    assert gw.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(gw, theirs(gy, x, kernel, stride, padding))


def test_opcheck():
    x, gy = torch.randn(2, 3, 6, 6), torch.randn(2, 4, 6, 6)
    torch.library.opcheck(torch.ops.custom_ops.weight_gradient, (gy, x, (3, 3), (1, 1), (1, 1)))


def test_serves_large_images_and_weights_on_processors_of_avx2(monkeypatch):
    """By the rule: float32, a CPU with AVX2 and nothing newer, 32 channels or more, more than half a MiB of either."""
    monkeypatch.setattr(module, "_OF_AVX2", True)
    x, w, geometry = (
        torch.empty(1, 32, 64, 65),
        torch.empty(32, 32, 3, 3),
        Geometry((1, 1), (1, 1), (1, 1), False, (0, 0), 1),
    )

    def prefers(x=x, w=w, geometry=geometry, gy=x):
        return module._prefers_products(gy, x, w, geometry)

    assert prefers()
    assert prefers(torch.empty(1, 512, 4, 4), torch.empty(512, 512, 3, 3))
    assert not prefers(w=w[:, :, :1, :1])
    assert not prefers(w=w[:31])
    assert not prefers(geometry=geometry._replace(groups=2))
    assert not prefers(x[:, :, :, 1:])
    assert prefers(x[:, :, :, 1:], geometry=geometry._replace(transposed=True))
    assert not prefers(x.double())
    assert not prefers(x.to("meta"))
    monkeypatch.setattr(module, "_OF_AVX2", False)
    assert not prefers()


@pytest.mark.parametrize("ours, theirs, settings, weights", [
    (convolve, F.conv2d, {"padding": (1, 1)}, (32, 32, 3, 3)),
    (convolve, F.conv2d, {"stride": 2}, (32, 32, 3, 3)),
    (partial(convolve, transposed=True), F.conv_transpose2d, {"stride": 2}, (32, 48, 3, 3)),
])  # fmt: skip
def test_convolutions_take_it_where_it_is_preferred(ours, theirs, settings, weights, monkeypatch):
    """First and second derivatives of a convolution, all of whose gradients of weights come by products."""
    monkeypatch.setattr(module, "_OF_AVX2", True)
    monkeypatch.setattr(module, "_LARGE", 0)
    torch.manual_seed(0)
    x = torch.randn(2, 32, 12, 10).contiguous(memory_format=torch.channels_last).requires_grad_()
    w = (torch.randn(weights) / 9).contiguous(memory_format=torch.channels_last).requires_grad_()
    found = []
    for f in (ours, theirs):
        with profile(activities=[ProfilerActivity.CPU]) as p:
            y = f(x, w, **settings)
            first = torch.autograd.grad(y.sin().sum(), (x, w), create_graph=True)
            second = torch.autograd.grad(sum(g.square().sum() for g in first), (x, w))
        found.append([y, *first, *second])
        names = [event.name for event in p.events()]
        assert names.count("custom_ops::weight_gradient") == (3 if f is ours else 0)
    for ours_, theirs_ in zip(*found, strict=True):
        torch.testing.assert_close(ours_, theirs_, rtol=1e-4, atol=1e-4 * float(theirs_.detach().abs().max()))
