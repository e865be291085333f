"""scale_bias_act against bias_act, its derivatives against finite differences, compiled against plain."""

from itertools import product

import pytest
import torch
from torch import Tensor

from custom_ops import bias_act, build, scale_bias_act
from custom_ops.scale_bias_act import computing_type, reference, reference_backward, reference_jvp
from tests.custom_ops import trial

OPS = torch.ops.custom_ops
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12, torch.bfloat16: 1e-2, torch.float16: 2e-3}
ALPHAS = [1.0, 0.3, -0.5]
PARTS = ["s", "n", "snb", "mb", "sm"]  # scale, noise for each sample, one noise for all, bias
WANTS = list(product([False, True], repeat=3))  # the derivatives by scale, noise and bias


@pytest.fixture
def native():
    if trial.COMPILER is None:
        pytest.skip("needs a C++ compiler")
    assert build.load("cpu"), build.shortfall("cpu")


def arguments(shape, parts: str, dtype=torch.float64) -> dict[str, Tensor]:
    """Of `scale_bias_act`, and in its order."""
    N, C, H, W = shape
    given = {
        "scale": [N, C] if "s" in parts else None,
        "noise": [N, 1, H, W] if "n" in parts else [H, W] if "m" in parts else None,
        "b": [C] if "b" in parts else None,
    }
    return {name: torch.randn(size, dtype=dtype) for name, size in given.items() if size is not None}


@pytest.mark.parametrize("act", ["linear", "lrelu"])
@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("gain, clamp", [(None, None), (-1.5, 0.9)])
def test_scale_and_noise_come_first(act, parts, gain, clamp):
    torch.manual_seed(0)
    x, given = torch.randn(2, 5, 4, 3, dtype=torch.float64) * 2, arguments((2, 5, 4, 3), parts)
    inner = x * given["scale"][:, :, None, None] if "scale" in given else x
    inner = inner + given["noise"] if "noise" in given else inner
    expected = bias_act(inner, given.get("b"), act=act, gain=gain, clamp=clamp)
    y = scale_bias_act(x, **given, act=act, gain=gain, clamp=clamp)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_nothing_but_the_output_is_rounded(dtype):
    torch.manual_seed(0)
    x, given = torch.randn(2, 5, 4, 3).to(dtype), arguments((2, 5, 4, 3), "snb", torch.float32)
    exact = x.double() * given["scale"][:, :, None, None] + given["noise"] + given["b"][:, None, None]
    error = (scale_bias_act(x, **given).double() - exact).abs()
    assert (error <= exact.abs() * torch.finfo(dtype).eps / 2 + 1e-5).all()


@pytest.mark.parametrize("act, layout", [("linear", LAYOUTS[0]), ("lrelu", LAYOUTS[1])])
@pytest.mark.parametrize("parts", PARTS)
def test_is_differentiable_twice(act, layout, parts):
    torch.manual_seed(0)
    shape = (2, 3, 2, 2)
    x, given = torch.randn(shape, dtype=torch.float64).contiguous(memory_format=layout), arguments(shape, parts)
    inputs = [t.requires_grad_() for t in (x, *given.values())]

    def function(x, *values):
        return scale_bias_act(x, **dict(zip(given, values, strict=True)), act=act, clamp=2.0)

    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("wanted", [[0], [1], [2], [3], [0, 1], [1, 2, 3]])
def test_each_input_alone_is_differentiable_twice(wanted):
    torch.manual_seed(0)
    values = [torch.randn(2, 3, 2, 2, dtype=torch.float64), *arguments((2, 3, 2, 2), "snb").values()]
    for i in wanted:
        values[i].requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: scale_bias_act(*a, act="lrelu"), values)
    assert torch.autograd.gradgradcheck(lambda *a: scale_bias_act(*a, act="lrelu"), values)


def test_a_third_derivative_is_refused():
    x = torch.randn(2, 2, 2, 2, requires_grad=True)
    (dx,) = torch.autograd.grad(scale_bias_act(x, torch.ones(2, 2), act="lrelu").square().sum(), x, create_graph=True)
    (ddx,) = torch.autograd.grad(dx.square().sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="differentiable twice, and a third derivative was asked for"):
        ddx.square().sum().backward()


@pytest.mark.parametrize(
    "act, wants_dscale, kept", [("linear", False, [2]), ("linear", True, [1, 2]), ("lrelu", True, [0, 1, 2])]
)
def test_only_what_derivatives_need_is_kept(act, wants_dscale, kept):
    x, scale = torch.randn(1, 2, 3, 3, requires_grad=True), torch.randn(1, 2, requires_grad=wants_dscale)
    y = scale_bias_act(x * 1, scale, act=act)  # of y, x, scale
    assert [i for i, t in enumerate(y.grad_fn.saved_tensors) if t is not None] == kept


def compare(x, dy, ddx, alpha, parts, gain, clamp, ops=OPS, wanted=WANTS):
    """All three operators on these inputs."""
    N, C, H, W = x.shape
    wide = computing_type(x.dtype)
    random = lambda *size: torch.randn(size, dtype=wide, device=x.device)  # noqa: E731
    scale, dscale = (random(N, C) if "s" in parts else None for _ in range(2))
    noise = random(N, 1, H, W) if "n" in parts else random(1, 1, H, W) if "m" in parts else None
    b = random(C) if "b" in parts else None
    curve = (alpha, gain, clamp)
    y = reference(x, scale, noise, b, *curve)
    assert_same([ops.scale_bias_act(x, scale, noise, b, *curve)], [y])
    for wants in wanted:
        backward = (dy, y, x, scale, *curve, *wants)
        results = ops.scale_bias_act_backward(*backward)
        assert_same(results, reference_backward(*backward))
        assert all(torch.equal(a, b) for a, b in zip(results, ops.scale_bias_act_backward(*backward), strict=True))
    for dx in (None, ddx):
        jvp = (y, dx, x, scale, dscale, noise, b, *curve)
        assert_same([ops.scale_bias_act_jvp(*jvp)], [reference_jvp(*jvp)])


def assert_same(results, expected):
    """Equal up to the rounding of their types, sums also up to that of their addends; and laid out alike."""
    for a, b in zip(results, expected, strict=True):
        assert a.dtype == b.dtype and (a.numel() == 0 or a.stride() == b.stride())
        size = b.abs().max().item() if b.numel() else 0
        torch.testing.assert_close(a, b, rtol=TOLERANCE[a.dtype], atol=TOLERANCE[a.dtype] * max(size, 1))


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_compiled_and_plain_agree(alpha, dtype, layout):
    torch.manual_seed(0)
    curves = [(1.4, None), (-1.5, 0.9), (0.7, 2.0)]
    shapes = [(2, 5, 7, 9), (3, 40, 5, 4), (2, 3, 16, 16), (0, 3, 2, 2), (2, 0, 2, 2), (2, 3, 0, 2), (2, 70, 1, 1)]
    for i, (shape, parts) in enumerate(product(shapes, ["b", "s", "snb", "mb"])):
        x, dy, ddx = (torch.randn(shape).to(dtype).contiguous(memory_format=layout) for _ in range(3))
        compare(x, dy, ddx, alpha, parts, *curves[i % 3])


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sums_do_not_depend_on_the_number_of_threads(layout):
    x, dy = (torch.randn(3, 32, 80, 80).contiguous(memory_format=layout) for _ in range(2))
    scale, curve = torch.randn(3, 32), (0.2, 1.0, None)
    before, results = torch.get_num_threads(), []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        results.append(OPS.scale_bias_act_backward(dy, x, x, scale, *curve, True, True, True))
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.usefixtures("native")
def test_the_compiled_operator_is_the_one_that_runs():
    x, scale, b = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 3, requires_grad=True), torch.randn(3)

    def step():
        y = scale_bias_act(x, scale, torch.randn(4, 4), b, act="lrelu", clamp=1.0)
        (dx,) = torch.autograd.grad(y, x, y.detach(), create_graph=True)
        return torch.autograd.grad(dx, [x, scale], dx.detach(), allow_unused=True)

    step()
    with torch.profiler.profile(acc_events=True) as profile:
        step()
    names = {event.name for event in profile.events()}
    ours = {"custom_ops::scale_bias_act", "custom_ops::scale_bias_act_backward"}
    assert ours <= names
    assert not names & {"aten::mul", "aten::add", "aten::leaky_relu", "aten::leaky_relu_backward", "aten::sum"}


def test_a_second_derivative_does_not_walk_the_graph_behind_the_output():
    x, dy = (torch.randn(2, 3, 4, 4, requires_grad=True) for _ in range(2))
    for function in (lambda x: scale_bias_act(x, torch.ones(2, 3), act="lrelu"), lambda x: bias_act(x, act="lrelu")):
        before = x * 1
        (dx,) = torch.autograd.grad(function(before), before, dy, create_graph=True)
        behind, nodes = [dx.grad_fn], set()
        while behind:
            node = behind.pop()
            nodes.add(node)
            behind.extend(next_node for next_node, _ in node.next_functions if next_node is not None)
        assert before.grad_fn not in nodes and len(nodes) == 2  # the derivative and dy


@pytest.mark.parametrize(
    ("alpha", "dtype", "layout", "size"),
    [
        (0.2, torch.float32, torch.channels_last, (2, 3, 4, 4)),
        (1.0, torch.bfloat16, torch.contiguous_format, (2, 3, 4, 5)),
        (0.0, torch.float32, torch.contiguous_format, (0, 3, 4, 4)),
    ],
)
def test_fits_into_the_machinery_of_pytorch(alpha, dtype, layout, size):
    N, C, H, W = size
    x, dy = (torch.randn(size, dtype=dtype).to(memory_format=layout).requires_grad_() for _ in range(2))
    parts = ([N, C], [1, 1, H, W], [C])
    scale, noise, b = (torch.randn(part, dtype=computing_type(dtype), requires_grad=True) for part in parts)
    curve = (alpha, 1.4, 0.9)
    torch.library.opcheck(OPS.scale_bias_act.default, (x, scale, noise, b, *curve))
    torch.library.opcheck(OPS.scale_bias_act.default, (x, None, None, None, *curve))
    torch.library.opcheck(OPS.scale_bias_act_backward.default, (dy, x.detach(), x, scale, *curve, True, True, True))
    torch.library.opcheck(OPS.scale_bias_act_backward.default, (dy, x.detach(), None, None, *curve, False, False, True))


def test_compiles_and_exports():
    x, scale = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 3, requires_grad=True)

    def step(x, scale):
        return scale_bias_act(x, scale, torch.ones(4, 4), act="lrelu", clamp=1.0).square().sum()

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for a, e in zip(
        torch.autograd.grad(compiled(x, scale), [x, scale]),
        torch.autograd.grad(step(x, scale), [x, scale]),
        strict=True,
    ):
        torch.testing.assert_close(a, e)

    class Step(torch.nn.Module):
        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            return step(x, scale)

    exported = torch.export.export(Step(), (x, scale))
    assert "custom_ops" not in exported.graph_module.code  # so that it runs where this project is not
    torch.testing.assert_close(exported.module()(x, scale), step(x, scale))


def test_refuses():
    y = torch.zeros(2, 3, 4, 4)
    message = r"^a scale of shape \(2, 4\) does not fit an input \(2, 3, 4, 4\)$"
    with pytest.raises(ValueError, match=message):
        scale_bias_act(y, torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"^a noise of shape \(2, 1, 3, 4\) does not fit an input \(2, 3, 4, 4\)$"):
        scale_bias_act(y, noise=torch.zeros(2, 1, 3, 4))


@pytest.mark.gpu
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_on_a_gpu(alpha, dtype, layout):
    assert build.load("cuda"), build.shortfall("cuda")
    torch.manual_seed(0)
    curves = [(1.4, None), (-1.5, 0.9), (0.7, 2.0)]
    shapes = [
        (2, 5, 7, 9),
        (3, 64, 32, 32),
        (2, 3, 65, 64),
        (0, 3, 2, 2),
        (2, 0, 2, 2),
        (8, 520, 4, 4),
        (2, 64, 300, 200),
    ]
    for i, (shape, parts) in enumerate(product(shapes, ["b", "s", "snb", "mb"])):
        x, dy, ddx = (torch.randn(shape).to(dtype).contiguous(memory_format=layout).cuda() for _ in range(3))
        compare(x, dy, ddx, alpha, parts, *curves[i % 3])
