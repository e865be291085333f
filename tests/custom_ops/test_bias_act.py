"""bias_act against formulas in numpy, its derivatives against finite differences, compiled against plain."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from custom_ops import ACTIVATIONS, bias_act, build
from custom_ops.activations import computing_type, slope, tells_slope, value
from custom_ops.bias_act import reference, reference_backward, reference_curvature
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
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 1e-2, torch.float16: 2e-3}
OPS = torch.ops.custom_ops


@pytest.fixture
def native():
    if trial.COMPILER is None:
        pytest.skip("needs a C++ compiler")
    assert build.load("cpu"), build.shortfall("cpu")


def normal(shape, dtype=torch.float64, layout=torch.contiguous_format, scale: float = 2.0) -> Tensor:
    x = (torch.randn(shape, dtype=torch.float64) * scale).to(dtype)
    return x.contiguous(memory_format=layout) if x.ndim == 4 else x


def assert_same(results, expected):
    """Equal up to the rounding of their types, and laid out alike."""
    for a, b in zip(results, expected, strict=True):
        assert a.dtype == b.dtype and (a.numel() == 0 or a.stride() == b.stride())
        tolerance = TOLERANCE[a.dtype]
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def compare(x, dy, ddx, b, curve, ops=OPS, wanted=(False, True)):
    """All three operators on these inputs; `wanted` says whether the derivative by b is."""
    y = reference(x, b, *curve)
    assert_same([ops.bias_act(x, b, *curve)], [y])
    saved = y if tells_slope(curve) else x
    for wants_db in wanted:
        compare_backward(ops, dy, saved, b, *curve, wants_db)
    second = (dy, ddx, x, b, *curve)
    assert_same([ops.bias_act_curvature(*second)], [reference_curvature(*second)])


def compare_backward(ops, dy, saved, b, *rest):
    results, expected = ops.bias_act_backward(dy, saved, b, *rest), reference_backward(dy, saved, b, *rest)
    if not tells_slope(rest[:4]) and rest[4]:  # the sum is of rounded numbers, which differ
        expected = (expected[0], results[0].sum([d for d in range(dy.ndim) if d != 1], dtype=expected[1].dtype))
    assert_same(results, expected)
    assert all(torch.equal(a, b) for a, b in zip(results, ops.bias_act_backward(dy, saved, b, *rest), strict=True))


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
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("alpha", [None, -0.5])
def test_is_differentiable_twice(act, layout, alpha):
    torch.manual_seed(0)
    x = normal([2, 3, 2, 2], layout=layout, scale=1).requires_grad_()
    b = torch.randn(3, dtype=torch.float64, requires_grad=True)
    for inputs in ([x, b], [x]):
        assert torch.autograd.gradcheck(lambda *a: bias_act(*a, act=act, alpha=alpha, clamp=2.0), inputs)
        assert torch.autograd.gradgradcheck(lambda *a: bias_act(*a, act=act, alpha=alpha, clamp=2.0), inputs)


def test_is_differentiable_three_times_or_refuses():
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    dy, ddx = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def second(act):
        (dx,) = torch.autograd.grad(bias_act(x, act=act), x, dy, create_graph=True)
        (ddy,) = torch.autograd.grad(dx, dy, ddx, create_graph=True)
        return ddy

    slopes = ((x > 0) + 0.2 * (x <= 0).double()) * np.sqrt(2)
    torch.testing.assert_close(torch.autograd.grad(second("lrelu").sum(), ddx)[0], slopes)
    (third,) = torch.autograd.grad(second("tanh").sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"^bias_act has no third derivative but for linear, relu and lrelu$"):
        third.sum().backward()


@pytest.mark.parametrize("dtype", DTYPES)
def test_at_the_limit_the_slope_is_zero_and_at_zero_it_is_that_of_below(dtype):
    x = torch.tensor([[-9, -4.5, -0.5, 0, 0.5, 0.9, 9]], dtype=dtype, requires_grad=True)
    bias_act(x, act="lrelu", gain=1.0, clamp=0.9).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.tensor([[0, 0, 0.2, 0.2, 1, 0, 0]], dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_type_and_layout_are_kept(dtype, layout):
    x = torch.randn(2, 6, 5, 7, dtype=dtype).contiguous(memory_format=layout)
    y = bias_act(x, torch.randn(6), act="lrelu", clamp=1.0)
    assert y.dtype == dtype and y.is_contiguous(memory_format=layout)


def test_an_activation_of_two_lines_frees_its_input():
    x = torch.randn(2, 3, requires_grad=True)
    y = bias_act(x * 1, act="lrelu")
    saved, bias = y.grad_fn.saved_tensors
    assert saved.data_ptr() == y.data_ptr() and bias is None
    y = bias_act(x * 1, gain=2.0)
    assert y.grad_fn.saved_tensors == (None, None)


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("act", FORMULAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_compiled_and_plain_agree(act, dtype, layout):
    torch.manual_seed(0)
    for shape in ([2, 5, 7, 9], [3, 40, 5, 4], [1, 3, 16, 16], [0, 3, 2, 2], [2, 0, 2, 2], [4, 33]):
        x, dy, ddx = (normal(shape, dtype, layout) for _ in range(3))
        bias = torch.randn(shape[1], dtype=computing_type(dtype))
        for b, alpha, gain, clamp in ((bias, 0.2, 1.4, None), (None, 0.3, -1.5, 0.9), (bias, -0.3, 0.7, 2.0)):
            compare(x, dy, ddx, b, (act, alpha, gain, clamp))


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("act", FORMULAS)
def test_compiled_activations_are_accurate_everywhere(act):
    x = torch.cat([torch.linspace(-100, 100, 10001), torch.logspace(-20, 0, 101), -torch.logspace(-20, 0, 101)])[None]
    curve = (act, 0.2, 1.0, None)
    torch.testing.assert_close(OPS.bias_act(x, None, *curve).double(), value(x.double(), curve), rtol=1e-6, atol=1e-30)
    if not tells_slope(curve):
        dx, _ = OPS.bias_act_backward(torch.ones_like(x), x, None, *curve, False)
        torch.testing.assert_close(dx.double(), slope(x.double(), curve), rtol=1e-5, atol=1e-6)
    odd = torch.tensor([[torch.inf, torch.nan]])
    torch.testing.assert_close(OPS.bias_act(odd, None, *curve), reference(odd, None, *curve), equal_nan=True)


@pytest.mark.usefixtures("native")
def test_any_strides():
    x = torch.randn(4, 6, 5, 8)
    curve = ("lrelu", 0.2, 1.0, None)
    for view in (
        x[::2],
        x[:, 1:4],
        x.transpose(2, 3),
        x[..., ::3],
        x[1:2, :, :1].expand(3, 6, 4, 8),
        x.permute(3, 2, 1, 0),
    ):
        torch.testing.assert_close(OPS.bias_act(view, None, *curve), reference(view, None, *curve))
        y = view.clone().requires_grad_()
        bias_act(y, act="relu", gain=1.0).sum().backward()  # whose dy has no strides at all
        torch.testing.assert_close(y.grad, (view > 0).float())


@pytest.mark.usefixtures("native")
def test_the_compiled_operator_is_the_one_that_runs():
    x, b = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(3, requires_grad=True)
    for act in ("lrelu", "swish"):
        y = bias_act(x, b, act=act, clamp=1.0)
        with torch.profiler.profile(acc_events=True) as profile:
            y = bias_act(x, b, act=act, clamp=1.0)
            torch.autograd.grad(y, [x, b], y.detach())
        names = {event.name for event in profile.events()}
        assert {"custom_ops::bias_act", "custom_ops::bias_act_backward"} <= names
        assert not {name for name in names if name.startswith("aten::")} - {"aten::empty", "aten::detach"}


@pytest.mark.parametrize(
    ("act", "dtype", "layout", "size"),
    [
        *((act, torch.float32, torch.channels_last, (2, 3, 4, 4)) for act in ACTIVATIONS),
        *((act, torch.bfloat16, torch.contiguous_format, (2, 3, 4, 5)) for act in ("linear", "lrelu", "swish")),
        *((act, torch.float64, torch.channels_last, (1, 3, 1, 7)) for act in ("relu", "softplus")),
        *((act, torch.float32, torch.contiguous_format, (0, 3, 4, 4)) for act in ("lrelu", "tanh")),
    ],
)
def test_fits_into_the_machinery_of_pytorch(act, dtype, layout, size):
    x, dy, ddx = (torch.randn(size, dtype=dtype).to(memory_format=layout).requires_grad_() for _ in range(3))
    b, curve = torch.randn(3, dtype=computing_type(dtype), requires_grad=True), (act, 0.2, 1.4, 0.9)
    torch.library.opcheck(OPS.bias_act.default, (x, b, *curve))
    torch.library.opcheck(OPS.bias_act.default, (x, None, *curve))
    torch.library.opcheck(OPS.bias_act_backward.default, (dy, x, b, *curve, True))
    torch.library.opcheck(OPS.bias_act_backward.default, (dy, x, b, *curve, False))
    utilities = ("test_schema", "test_faketensor")  # the others differentiate
    torch.library.opcheck(OPS.bias_act_curvature.default, (dy, ddx, x, b, *curve), test_utils=utilities)


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
    assert "custom_ops" not in exported.graph_module.code  # so that it runs where this project is not
    torch.testing.assert_close(exported.module()(x, b), step(x, b))


def test_refuses():
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"^activation 'gelu' is not one of linear, relu, lrelu, "):
        bias_act(x, act="gelu")
    with pytest.raises(ValueError, match=r"^a bias of shape \(4,\) does not fit dimension 1 of an input \(2, 3\)$"):
        bias_act(x, torch.zeros(4))
    with pytest.raises(ValueError, match=r"^clamp is -1, but a limit of absolute values is 0 or more$"):
        bias_act(x, clamp=-1)


@pytest.mark.gpu
@pytest.mark.parametrize("act", FORMULAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_on_a_gpu(act, dtype, layout):
    assert build.load("cuda"), build.shortfall("cuda")
    torch.manual_seed(0)
    for shape in ([2, 5, 7, 9], [3, 64, 32, 32], [1, 3, 65, 64], [0, 3, 2, 2], [4, 33]):
        x, dy, ddx = (normal(shape, dtype, layout).cuda() for _ in range(3))
        bias = torch.randn(shape[1], dtype=computing_type(dtype), device="cuda")
        for b, alpha, gain, clamp in ((bias, 0.2, 1.4, None), (None, 0.3, -1.5, 0.9), (bias, -0.3, 0.7, 2.0)):
            compare(x, dy, ddx, b, (act, alpha, gain, clamp), wanted=[True])
