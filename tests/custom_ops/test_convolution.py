"""Convolutions and all their derivatives, against PyTorch's own."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from custom_ops import convolution
from custom_ops.convolution import convolve

CASES = [
    (convolve, F.conv2d, {"padding": (1, 1)}, (4, 3, 3, 3)),
    (convolve, F.conv2d, {"stride": 2}, (4, 3, 3, 3)),
    (convolve, F.conv2d, {"padding": (1, 0), "groups": 3}, (6, 1, 3, 2)),
    (partial(convolve, transposed=True), F.conv_transpose2d, {"stride": 2}, (3, 4, 3, 3)),
]


LAYOUTS = [torch.contiguous_format, torch.channels_last]


def inputs(weights, layout=torch.contiguous_format, batch=2):
    torch.manual_seed(0)
    x = torch.randn(batch, 3, 5, 6, dtype=torch.float64).contiguous(memory_format=layout)
    w = torch.randn(weights, dtype=torch.float64).contiguous(memory_format=layout)
    return x.requires_grad_(), w.requires_grad_()


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ours, theirs, settings, weights", CASES)
def test_first_and_second_derivatives(ours, theirs, settings, weights, layout, batch):
    x, w = inputs(weights, layout, batch)
    found = []
    for f in (ours, theirs):
        y = f(x, w, **settings)
        first = torch.autograd.grad(y.sin().sum(), (x, w), create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), (x, w))
        found.append([y, *first, *second])
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("ours, theirs, settings, weights", CASES)
def test_gradgradcheck(ours, theirs, settings, weights):
    x, w = inputs(weights)
    assert torch.autograd.gradcheck(lambda x, w: ours(x, w, **settings), (x, w))
    assert torch.autograd.gradgradcheck(lambda x, w: ours(x, w, **settings), (x, w))


def calls(action, inputs_of="aten::convolution_backward"):
    """The masks of the gradients that an action computes: (of the input, of the weights, of the bias)."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as p:
        action()
    return [event.concrete_inputs[-1] for event in p.events() if event.name == inputs_of]


def test_a_penalty_on_image_gradients_wastes_no_weight_gradients():
    """As R1: the first pass computes no gradients of weights; what the second one needs, it computes once."""
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    w, v = (torch.randn(shape, requires_grad=True) for shape in ((4, 3, 3, 3), (5, 4, 3, 3)))
    y = convolve(convolve(x, w, padding=(1, 1)).sin(), v, padding=(1, 1))

    def first():
        first.gradient = torch.autograd.grad(y.sum(), x, create_graph=True)[0]

    assert [str(mask) for mask in calls(first)] == ["[True, False, False]"] * 2
    second = [str(mask) for mask in calls(lambda: first.gradient.square().sum().backward())]
    weights, both, images = "[False, True, False]", "[True, True, False]", "[True, False, False]"
    assert second.count(weights) == 2  # one for each layer, of its gradient's gradient
    assert second.count(both) == 1 and second.count(images) == 0  # the first layer's, by way of the sine
    assert w.grad is not None and v.grad is not None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_keeps_the_layout(layout):
    x = torch.randn(2, 8, 6, 6).contiguous(memory_format=layout).requires_grad_()
    w = torch.randn(4, 8, 3, 3).contiguous(memory_format=layout).requires_grad_()
    y = convolve(x, w, padding=(1, 1))
    y.square().sum().backward()
    assert y.is_contiguous(memory_format=layout) and x.grad.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("ours, theirs, settings, weights", CASES)
def test_without_instructions_for_bfloat16_it_is_convolved_in_float32(ours, theirs, settings, weights, monkeypatch):
    """Every result is that of float32 on the same numbers, rounded once: also of the gradients and theirs."""
    monkeypatch.setattr(convolution, "_BFLOAT16_BY_LOOPS", True)
    x, w = (t.detach().bfloat16().requires_grad_() for t in inputs(weights))
    wide_x, wide_w = (t.detach().float().requires_grad_() for t in (x, w))

    y, wide = ours(x, w, **settings), theirs(wide_x, wide_w, **settings)
    assert y.dtype == torch.bfloat16 and torch.equal(y, wide.bfloat16())
    with torch.no_grad():
        assert torch.equal(ours(x, w, **settings), y)

    gy = torch.randn_like(y).requires_grad_()
    ggx, ggw = torch.randn_like(x), torch.randn_like(w)
    first = torch.autograd.grad(y, (x, w), gy, create_graph=True)
    assert [g.dtype for g in first] == [torch.bfloat16] * 2
    wide_gy = gy.detach().float().requires_grad_()
    wide_first = torch.autograd.grad(wide, (wide_x, wide_w), wide_gy, create_graph=True)
    for g, wide_g in zip(first, wide_first, strict=True):
        assert torch.equal(g, wide_g.bfloat16())
    for of, along in ((0, ggx), (1, ggw)):  # each gradient's gradients alone, as sums would be rounded between
        wanted = (gy, w) if of == 0 else (gy, x)
        wide_wanted = (wide_gy, wide_w) if of == 0 else (wide_gy, wide_x)
        second = torch.autograd.grad(first[of], wanted, along, retain_graph=True)
        wide_second = torch.autograd.grad(wide_first[of], wide_wanted, along.float(), retain_graph=True)
        for g, wide_g in zip(second, wide_second, strict=True):
            torch.testing.assert_close(g, wide_g.bfloat16(), rtol=2**-8, atol=1e-3)  # sums in another order


def test_an_exported_graph_leaves_bfloat16_to_the_machine_that_runs_it(monkeypatch):
    monkeypatch.setattr(convolution, "_BFLOAT16_BY_LOOPS", True)

    class Layer(torch.nn.Module):
        def forward(self, x, w):
            return convolve(x, w, padding=(1, 1))

    x, w = torch.randn(1, 2, 4, 4).bfloat16(), torch.randn(2, 2, 3, 3).bfloat16()
    nodes = torch.export.export(Layer(), (x, w)).graph.nodes
    assert [str(node.target) for node in nodes if node.op == "call_function"] == ["aten.conv2d.default"]
