"""Convolutions and all their derivatives, against PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from custom_ops.convolution import convolve, convolve_transposed

CASES = [
    (convolve, F.conv2d, {"padding": (1, 1)}, (4, 3, 3, 3)),
    (convolve, F.conv2d, {"stride": 2}, (4, 3, 3, 3)),
    (convolve, F.conv2d, {"padding": (1, 0), "groups": 3}, (6, 1, 3, 2)),
    (convolve_transposed, F.conv_transpose2d, {"stride": 2}, (3, 4, 3, 3)),
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


def test_works_under_compile():
    x, w = torch.randn(2, 3, 5, 5, requires_grad=True), torch.randn(4, 3, 3, 3, requires_grad=True)
    compiled = torch.compile(lambda x, w: convolve(x, w, padding=(1, 1)), backend="aot_eager", fullgraph=True)
    for f in (compiled, lambda x, w: F.conv2d(x, w, padding=1)):
        f(x, w).sin().sum().backward()
    assert torch.equal(compiled(x, w), F.conv2d(x, w, padding=1))
