"""conv2d_resample against its own definition: enlarge, convolve, reduce, each at full resolution."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from custom_ops import conv2d_resample, setup_filter, upfirdn2d
from custom_ops.upfirdn2d import downsampling_padding, upsampling_padding

ASYMMETRIC = torch.tensor([1.0, 4.0, 2.0, 0.5], dtype=torch.float64)


def definition(x, w, f, up, down, padding, groups, flip_weight, flip_filter):
    sides = [padding] * 4
    if up > 1:
        sides = [a + b for a, b in zip(sides, upsampling_padding(f, up), strict=True)]
    if down > 1:
        sides = [a + b for a, b in zip(sides, downsampling_padding(f, down), strict=True)]
    x = upfirdn2d(x, f if up > 1 else None, up=up, padding=sides, flip_filter=flip_filter, gain=up**2)
    if down > 1:
        # reduced by the filter first and decimated last: convolutions commute
        x = upfirdn2d(x, f, flip_filter=flip_filter)
    x = F.conv2d(x, w if flip_weight else w.flip([2, 3]), groups=groups)
    return x[:, :, ::down, ::down]


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2), (2, 2), (3, 1), (1, 3)])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("flip_weight, flip_filter", list(itertools.product([True, False], repeat=2)))
def test_equals_the_definition(kernel, up, down, groups, flip_weight, flip_filter):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 12, 6, dtype=torch.float64)
    w = torch.randn(6, 4 // groups, kernel, kernel, dtype=torch.float64)
    f = setup_filter(ASYMMETRIC).double()
    arguments = (f, up, down, kernel // 2, groups, flip_weight, flip_filter)
    torch.testing.assert_close(conv2d_resample(x, w, *arguments), definition(x, w, *arguments))


@pytest.mark.parametrize("up, down, size", [(1, 1, (12, 6)), (2, 1, (24, 12)), (1, 2, (6, 3))])
@pytest.mark.parametrize("kernel", [1, 3])
def test_sizes(up, down, size, kernel):
    x, w = torch.randn(1, 3, 12, 6), torch.randn(5, 3, kernel, kernel)
    y = conv2d_resample(x, w, setup_filter((1, 3, 3, 1)), up=up, down=down, padding=kernel // 2)
    assert y.shape == (1, 5, *size)


@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2)])
def test_is_differentiable_twice(up, down):
    x = torch.randn(1, 2, 6, 4, dtype=torch.float64, requires_grad=True)
    w = torch.randn(3, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    f = setup_filter(ASYMMETRIC).double()
    assert torch.autograd.gradcheck(lambda x, w: conv2d_resample(x, w, f, up, down, padding=1), [x, w])
    assert torch.autograd.gradgradcheck(lambda x, w: conv2d_resample(x, w, f, up, down, padding=1), [x, w])


def test_refuses_weights_that_do_not_fit():
    message = r"^weights \(6, 3, 3, 3\) in 2 groups do not fit an input \(1, 4, 8, 8\)$"
    with pytest.raises(ValueError, match=message):
        conv2d_resample(torch.zeros(1, 4, 8, 8), torch.zeros(6, 3, 3, 3), groups=2)
    with pytest.raises(ValueError, match=r"^resampling factors are whole numbers from 1, but up is 0 and down is 1$"):
        conv2d_resample(torch.zeros(1, 4, 8, 8), torch.zeros(6, 4, 3, 3), up=0)


@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_neighbors_in_memory_stay_neighbors(up, down, kernel):
    """A change of the memory format within a network costs passes over memory that show in no formula."""
    x = torch.randn(2, 16, 8, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    w, f = torch.randn(8, 16, kernel, kernel), setup_filter((1, 3, 3, 1))
    y = conv2d_resample(x, w, f, up=up, down=down, padding=kernel // 2)
    (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert all(t.is_contiguous(memory_format=torch.channels_last) for t in (y, gradient))
