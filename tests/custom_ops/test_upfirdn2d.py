"""upfirdn2d against a literal transcription and scipy's own, and its derivatives against finite differences.

With a C++ compiler, these tests run the native kernel, and compare it with the reference.
"""

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from torch.profiler import ProfilerActivity, profile

from custom_ops import build, downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d
from tests.custom_ops import trial
from tests.custom_ops.resamplings import LAYOUTS, OPERATOR, ROUNDING, check, operations

CASES = [  # up, down, padding, taps (rows, columns)
    (1, 1, (0, 0, 0, 0), (4, 4)),
    (1, 1, (2, 1, 1, 3), (3, 4)),
    (2, 1, (2, 1, 2, 1), (4, 4)),
    (2, 1, (0, 0, 5, 1), (4, 4)),
    (3, 2, (2, 3, 1, 4), (5, 2)),
    (1, 2, (1, 1, 1, 1), (4, 4)),
    (1, 3, (-1, 2, 0, -2), (2, 3)),
    (2, 2, (-2, -1, 6, -3), (1, 1)),
]


def literal(x, f, up, down, sides, flip, gain):
    """The four steps of the definition, one after the other, in float64."""
    left, right, top, bottom = sides
    N, C, H, W = x.shape
    y = np.zeros([N, C, H * up, W * up])
    y[:, :, ::up, ::up] = x
    y = np.pad(y, [(0, 0), (0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))])
    y = y[:, :, max(-top, 0) : y.shape[2] - max(-bottom, 0), max(-left, 0) : y.shape[3] - max(-right, 0)]
    f = f[::-1, ::-1] if flip else f
    planes = [[scipy.signal.convolve2d(plane, f, mode="valid") for plane in sample] for sample in y]
    return np.array(planes)[:, :, ::down, ::down] * gain


@pytest.mark.parametrize("flip, layout", [(False, torch.contiguous_format), (True, torch.channels_last)])
@pytest.mark.parametrize(("up", "down", "padding", "taps"), CASES)
def test_equals_the_definition(up, down, padding, taps, flip, layout):
    random = np.random.RandomState(0)
    x, f = random.randn(2, 3, 7, 9), np.outer(*(random.randint(-8, 9, n) for n in taps)).astype(np.float32)
    images = torch.from_numpy(x).contiguous(memory_format=layout)
    y = upfirdn2d(images, torch.from_numpy(f), up, down, padding, flip, gain=1.75)
    np.testing.assert_allclose(y.numpy(), literal(x, f.astype(float), up, down, padding, flip, 1.75), atol=1e-12)


@pytest.mark.parametrize(
    ("up", "down", "padding", "taps"), [*CASES, (2, 1, (2, 1, 2, 1), (4,)), (1, 2, (1, 1, 1, 1), (4,))]
)
def test_is_differentiable_twice(up, down, padding, taps):
    x = torch.randn(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    f = torch.randn(taps) if len(taps) == 1 else torch.outer(torch.randn(taps[0]), torch.randn(taps[1]))
    assert torch.autograd.gradcheck(lambda x: upfirdn2d(x, f, up, down, padding), [x])
    assert torch.autograd.gradgradcheck(lambda x: upfirdn2d(x, f, up, down, padding), [x])


@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2), (3, 2)])
def test_a_line_of_taps_equals_its_outer_product(up, down):
    x, line = torch.randn(2, 3, 8, 6, dtype=torch.float64), torch.tensor([0.5, -1.25, 2.0, 0.75])
    separable, full = (upfirdn2d(x, f, up, down, (3, 1, 2, 2), gain=2.5) for f in (line, torch.outer(line, line)))
    torch.testing.assert_close(separable, full)


@pytest.mark.parametrize("taps", [(1, 3, 3, 1), (1, 2, 1), (1, 4, 6, 4, 1)])
def test_flat_images_stay_flat(taps):
    """Up- and downsampling keep the brightness of every pixel that sees no edge, and the sizes."""
    f, x = setup_filter(taps), torch.full([1, 1, 24, 20], 3.0)
    for y, size in ((upsample2d(x, f), (48, 40)), (downsample2d(x, f), (12, 10)), (filter2d(x, f), (24, 20))):
        assert y.shape[2:] == size
        inner = y[:, :, 3:-3, 3:-3]
        torch.testing.assert_close(inner, torch.full_like(inner, 3.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=40)
@given(operation=operations())
def test_sums_in_wide_numbers_and_rounds_once(operation, dtype, layout):
    build.load("cpu")
    check(operation, dtype, layout)


@pytest.mark.skipif(trial.COMPILER is None, reason="needs a C++ compiler")
def test_where_there_is_a_compiler_the_native_kernel_runs():
    x = torch.randn(1, 16, 8, 8, requires_grad=True)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        torch.autograd.grad(upsample2d(x, setup_filter((1, 3, 3, 1))).sum(), x)
    names = [event.key for event in profiled.key_averages()]
    assert "custom_ops::upfirdn2d" in names
    assert not [name for name in names if "conv" in name], "the reference ran"


@pytest.mark.parametrize("layout, dtype, taps", [("NCHW", torch.float32, (4,)), ("NHWC", torch.bfloat16, (3, 1))])
def test_is_a_well_behaved_operator(layout, dtype, taps):
    build.load("cpu")
    x = torch.randn(2, 3, 5, 6, dtype=dtype).contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
    torch.library.opcheck(OPERATOR, (x, torch.randn(taps), 2, 1, 2, -1, 3, 1, 1.5, False))


def test_can_be_compiled_and_exported():
    f = setup_filter((1, 3, 3, 1))
    x = torch.randn(2, 3, 8, 6, requires_grad=True)
    compiled = torch.compile(upsample2d, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, f), upsample2d(x, f))
    gradients = [torch.autograd.grad(g(x, f).square().sum(), x)[0] for g in (compiled, upsample2d)]
    torch.testing.assert_close(*gradients)

    class Enlarge(torch.nn.Module):
        def forward(self, x):
            return upsample2d(x, f)

    dynamic = {"x": {0: torch.export.Dim("batch"), 2: torch.export.Dim("height", min=4)}}
    exported = torch.export.export(Enlarge(), (x.detach(),), dynamic_shapes=dynamic)
    assert "custom_ops" not in exported.graph_module.code  # so that it runs where this project is not
    other = torch.randn(5, 3, 10, 6)
    torch.testing.assert_close(exported.module()(other), upsample2d(other, f))


def test_the_number_of_threads_changes_nothing():
    x, f = torch.randn(3, 32, 33, 35), setup_filter((1, 3, 3, 1))
    threads = torch.get_num_threads()
    results = []
    for n in (1, 2, 5):
        torch.set_num_threads(n)
        results.append([filter2d(x, f), upsample2d(x, f), downsample2d(x, f)])
    torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_what_is_not_a_number_stays_where_its_taps_reach():
    x = torch.ones(1, 16, 12, 12).contiguous(memory_format=torch.channels_last)
    x[0, 3, 5, 6] = torch.nan
    y = upfirdn2d(x.bfloat16(), setup_filter((1, 3, 3, 1)))  # [1, 16, 9, 9]
    reached = torch.zeros(9, 9, dtype=torch.bool)
    reached[2:6, 3:7] = True
    assert torch.equal(y[0, 3].isnan(), reached) and not y[0, 4].isnan().any()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=60)
@given(operation=operations())
def test_the_gpu_kernels_sum_in_wide_numbers_and_round_once(operation, dtype, layout):
    assert build.load("cuda"), build.shortfall("cuda")
    check(operation, dtype, layout, lambda x, f, *rest: OPERATOR(x.cuda(), f.cuda(), *rest).cpu())


def test_refuses_an_image_smaller_than_the_filter():
    message = "^a filter of 4x4 taps does not fit into a padded image of 2x2$"
    with pytest.raises(ValueError, match=message):
        upfirdn2d(torch.zeros(1, 1, 8, 8), setup_filter((1, 3, 3, 1)), padding=(-3, -3, -3, -3))
