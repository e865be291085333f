"""bias_act against formulas in numpy, its derivatives against finite differences, native against plain PyTorch."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from custom_ops import ACTIVATIONS, bias_act, build
from custom_ops.scale_bias_act import reference
from tests.custom_ops import trial

FORMULAS: dict[str, tuple[Callable, float]] = {  # x -> act(x), and the default gain squared
    "linear": (lambda x: x, 1),
    "relu": (lambda x: np.maximum(x, 0), 2),
    "lrelu": (lambda x: np.where(x > 0, x, 0.2 * x), 2),
    "tanh": (np.tanh, 1),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), 1),
    "elu": (lambda x: np.where(x > 0, x, np.exp(x) - 1), 1),
    "selu": (lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(x) - 1)), 1),
    "softplus": (lambda x: np.log1p(np.exp(x)), 1),
    "swish": (lambda x: x / (1 + np.exp(-x)), 2),
}
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
OPS = torch.ops.custom_ops


def test_the_table_is_whole():
    assert FORMULAS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("act", FORMULAS)
@pytest.mark.parametrize("gain, clamp", [(None, None), (0.7, None), (-1.5, 0.9), (None, 0.5), (0, None), (None, 0)])
def test_equals_the_formula(act, gain, clamp):
    random = np.random.RandomState(0)
    x, b = random.randn(2, 5, 4, 3) * 2, random.randn(5)
    function, gain_squared = FORMULAS[act]
    expected = function(x + b[None, :, None, None]) * (np.sqrt(gain_squared) if gain is None else gain)
    expected = expected if clamp is None else np.clip(expected, -clamp, clamp)
    y = bias_act(torch.from_numpy(x), torch.from_numpy(b), act=act, gain=gain, clamp=clamp)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_the_bias_runs_along_dim(dim):
    x = torch.randn(3, 4, 5, dtype=torch.float64)
    b = torch.randn(x.shape[dim], dtype=torch.float64)
    moved = bias_act(x, b, dim=dim, act="lrelu", alpha=0.3, gain=2.0).movedim(dim, -1)
    plain = x.movedim(dim, -1) + b
    torch.testing.assert_close(moved, 2 * torch.where(plain > 0, plain, 0.3 * plain))


@pytest.mark.parametrize("shape", [[], [0], [7], [2, 3], [3, 0, 2], [2, 3, 4, 5, 2]])
def test_any_shape_without_a_bias(shape):
    x = torch.randn(shape)
    torch.testing.assert_close(bias_act(x, act="relu"), x.relu() * np.sqrt(2))
    torch.testing.assert_close(bias_act(x, dim=0, act="tanh"), x.tanh())


@pytest.mark.parametrize("act", FORMULAS)
@pytest.mark.parametrize("alpha", [None, -0.5])
def test_is_differentiable_twice(act, alpha):
    torch.manual_seed(0)
    x = torch.randn([2, 3, 2, 2], dtype=torch.float64, requires_grad=True)
    b = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: bias_act(*a, act=act, alpha=alpha, clamp=2.0), [x, b])
    assert torch.autograd.gradgradcheck(lambda *a: bias_act(*a, act=act, alpha=alpha, clamp=2.0), [x, b])


@pytest.mark.parametrize("act", ["lrelu", "swish"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_at_the_limit_the_slope_is_zero(act, dtype):
    x = torch.tensor([[-9.0, 0, 0.5, 9]], dtype=dtype, requires_grad=True)
    bias_act(x, act=act, gain=1.0, clamp=0.9).sum().backward()
    assert x.grad is not None and x.grad[0, 3] == 0 and x.grad[0, 2] != 0
    if act == "lrelu":  # at zero the slope is that below zero
        torch.testing.assert_close(x.grad, torch.tensor([[0, 0.2, 1, 0]], dtype=dtype))


@pytest.mark.parametrize("act", ["lrelu", "swish"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_type_and_layout_are_kept(act, dtype, layout):
    x = torch.randn(2, 6, 5, 7, dtype=dtype).contiguous(memory_format=layout)
    y = bias_act(x, torch.randn(6), act=act, clamp=1.0)
    assert y.dtype == dtype and y.is_contiguous(memory_format=layout)


def test_an_activation_of_two_lines_frees_its_input():
    x = torch.randn(2, 3, requires_grad=True)
    y = bias_act(x * 1, act="lrelu")
    assert [t is not None and t.data_ptr() == y.data_ptr() for t in y.grad_fn.saved_tensors] == [True, False, False]
    y = bias_act(x * 1, gain=2.0)
    assert y.grad_fn.saved_tensors == (None, None, None)


@pytest.mark.skipif(trial.COMPILER is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("act", ["linear", "relu", "lrelu"])
def test_any_strides_and_numbers_of_dimensions(act):
    assert build.load("cpu"), build.shortfall("cpu")
    x, curve = torch.randn(4, 6, 5, 8), (act, 0.2, 1.3, 0.9)
    for view in (x[::2], x[:, 1:4], x.transpose(2, 3), x[..., ::3], x.permute(3, 2, 1, 0), x[0], x[0, 0], x[..., None]):
        b = torch.randn(view.shape[1])
        torch.testing.assert_close(
            OPS.scale_bias_act(view, None, None, b, *curve), reference(view, None, None, b, *curve)
        )
        y = view.clone().requires_grad_()
        bias_act(y, act="relu", gain=1.0).sum().backward()  # the strides of dy are zero
        torch.testing.assert_close(y.grad, (view > 0).float())
    odd = torch.tensor([[torch.inf, -torch.inf, torch.nan]])
    expected = reference(odd, None, None, None, *curve)
    torch.testing.assert_close(OPS.scale_bias_act(odd, None, None, None, *curve), expected, equal_nan=True)


def test_compiles_and_exports():
    x, b = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(3, requires_grad=True)

    def step(x, b):
        return bias_act(bias_act(x, b, act="swish"), act="lrelu", clamp=1.0).square().sum()

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for a, e in zip(torch.autograd.grad(compiled(x, b), [x, b]), torch.autograd.grad(step(x, b), [x, b]), strict=True):
        torch.testing.assert_close(a, e)

    class Step(torch.nn.Module):
        def forward(self, x: Tensor, b: Tensor) -> Tensor:
            return step(x, b)

    exported = torch.export.export(Step(), (x, b))
    assert "custom_ops" not in exported.graph_module.code  # so that it runs without this project
    torch.testing.assert_close(exported.module()(x, b), step(x, b))


def test_refuses():
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"^activation 'gelu' is not one of linear, relu, lrelu, "):
        bias_act(x, act="gelu")
    with pytest.raises(ValueError, match=r"^a bias of shape \(4,\) does not fit dimension 1 of an input \(2, 3\)$"):
        bias_act(x, torch.zeros(4))
    with pytest.raises(ValueError, match=r"^clamp is -1, but a limit of absolute values is 0 or more$"):
        bias_act(x, clamp=-1)
