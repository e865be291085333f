"""bias_act against formulas in numpy, its derivatives against finite differences, native against plain PyTorch."""

import numpy as np
import pytest
import torch

from custom_ops import bias_act, build
from custom_ops.scale_bias_act import reference
from tests.custom_ops import trial

FORMULAS = {"linear": (lambda x: x, 1), "lrelu": (lambda x: np.where(x > 0, x, 0.2 * x), 2)}  # and gain squared
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
OPS = torch.ops.custom_ops


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


@pytest.mark.parametrize("act", FORMULAS)
def test_is_differentiable_twice(act):
    torch.manual_seed(0)
    x = torch.randn([2, 3, 2, 2], dtype=torch.float64, requires_grad=True)
    b = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: bias_act(*a, act=act, clamp=2.0), [x, b])
    assert torch.autograd.gradgradcheck(lambda *a: bias_act(*a, act=act, clamp=2.0), [x, b])


@pytest.mark.parametrize("dtype", DTYPES)
def test_slopes_at_zero_and_at_the_limit(dtype):
    """At zero the slope is that below zero; at the limit the slope is zero."""
    x = torch.tensor([[-9.0, 0, 0.5, 9]], dtype=dtype, requires_grad=True)
    bias_act(x, act="lrelu", gain=1.0, clamp=0.9).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[0, 0.2, 1, 0]], dtype=dtype))


def test_the_input_is_freed():
    x = torch.randn(2, 3, requires_grad=True)
    y = bias_act(x * 1, act="lrelu")
    assert [t is not None and t.data_ptr() == y.data_ptr() for t in y.grad_fn.saved_tensors] == [True, False, False]
    y = bias_act(x * 1, gain=2.0)
    assert y.grad_fn.saved_tensors == (None, None, None)


@pytest.mark.skipif(trial.COMPILER is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("alpha", [1.0, 0.2])
def test_any_strides_and_numbers_of_dimensions(alpha):
    assert build.load("cpu"), build.shortfall("cpu")
    x, curve = torch.randn(4, 6, 5, 8), (alpha, 1.3, 0.9)
    for view in (x[::2], x[:, 1:4], x.transpose(2, 3), x[..., ::3], x.permute(3, 2, 1, 0), x[0], x[0, 0], x[..., None]):
        b = torch.randn(view.shape[1])
        torch.testing.assert_close(
            OPS.scale_bias_act(view, None, None, b, *curve), reference(view, None, None, b, *curve)
        )
        y = view.clone().requires_grad_()
        bias_act(y, act="lrelu", gain=1.0).sum().backward()  # the strides of dy are zero
        torch.testing.assert_close(y.grad, torch.where(view > 0, 1, 0.2))
    odd = torch.tensor([[torch.inf, -torch.inf, torch.nan]])
    expected = reference(odd, None, None, None, *curve)
    torch.testing.assert_close(OPS.scale_bias_act(odd, None, None, None, *curve), expected, equal_nan=True)


def test_refuses():
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"^a bias of shape \(4,\) does not fit an input \(2, 3\)$"):
        bias_act(x, torch.zeros(4))
    with pytest.raises(ValueError, match=r"^clamp is -1, expected 0 or more$"):
        bias_act(x, clamp=-1)
