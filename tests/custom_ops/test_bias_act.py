"""bias_act against formulas written out in numpy, and its derivatives against finite differences."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from custom_ops import ACTIVATIONS, bias_act, scale_bias_act

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


def test_the_table_is_whole():
    assert FORMULAS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("act", FORMULAS)
@pytest.mark.parametrize("gain, clamp", [(None, None), (0.7, None), (-1.5, 0.9), (None, 0.5)])
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


@pytest.mark.parametrize("act", FORMULAS)
def test_is_differentiable_twice(act):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    b = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, b: bias_act(x, b, act=act, clamp=2.0), [x, b])
    assert torch.autograd.gradgradcheck(lambda x, b: bias_act(x, b, act=act, clamp=2.0), [x, b])


@pytest.mark.parametrize("act", FORMULAS)
@pytest.mark.parametrize("parts", ["", "s", "n", "b", "sb", "snb", "nb", "mb"])
@pytest.mark.parametrize("gain, clamp", [(None, None), (-1.5, 0.9)])
def test_scale_and_noise_come_first(act, parts, gain, clamp):
    random = np.random.RandomState(0)
    x, s, b = random.randn(2, 5, 4, 3) * 2, random.randn(2, 5), random.randn(5)
    noise = random.randn(*([4, 3] if "m" in parts else [2, 1, 4, 3]))
    inner = x * s[:, :, None, None] if "s" in parts else x
    inner = inner + noise if {"n", "m"} & set(parts) else inner
    inner = inner + b[:, None, None] if "b" in parts else inner
    expected = bias_act(torch.from_numpy(inner), act=act, gain=gain, clamp=clamp)
    given = {"s": ("scale", s), "n": ("noise", noise), "m": ("noise", noise), "b": ("b", b)}
    arguments = {given[part][0]: torch.from_numpy(given[part][1]) for part in parts}
    y = scale_bias_act(torch.from_numpy(x), **arguments, act=act, gain=gain, clamp=clamp)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("act", FORMULAS)
def test_scale_bias_act_is_differentiable_twice(act):
    torch.manual_seed(0)
    shapes = ([2, 3, 2, 2], [2, 3], [2, 1, 2, 2], [3])
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(lambda *a: scale_bias_act(*a, act=act, clamp=2.0), inputs)
    assert torch.autograd.gradgradcheck(lambda *a: scale_bias_act(*a, act=act, clamp=2.0), inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_type_and_layout_are_kept(dtype, layout):
    x = torch.randn(2, 6, 5, 7, dtype=dtype).contiguous(memory_format=layout)
    y = bias_act(x, torch.randn(6), act="lrelu", clamp=1.0)
    assert y.dtype == dtype and y.is_contiguous(memory_format=layout)


def test_refuses():
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"^activation 'gelu' is not one of linear, relu, lrelu, "):
        bias_act(x, act="gelu")
    with pytest.raises(ValueError, match=r"^a bias of shape \(4,\) does not fit dimension 1 of an input \(2, 3\)$"):
        bias_act(x, torch.zeros(4))
    y = torch.zeros(2, 3, 4, 4)
    message = r"^a scale \(2, 4\) and a bias None do not fit an input \(2, 3, 4, 4\)$"
    with pytest.raises(ValueError, match=message):
        scale_bias_act(y, torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"^noise \(2, 1, 3, 4\) does not fit an input \(2, 3, 4, 4\)$"):
        scale_bias_act(y, noise=torch.zeros(2, 1, 3, 4))
    with pytest.raises(ValueError, match=r"^clamp is -1, but a limit of absolute values is 0 or more$"):
        bias_act(x, clamp=-1)
