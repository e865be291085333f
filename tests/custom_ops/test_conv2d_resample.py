"""conv2d_resample against its own definition: enlarge, convolve, reduce, each at full resolution."""

import pytest
import torch
import torch.nn.functional as F

from custom_ops import conv2d_resample, setup_filter, upfirdn2d
from custom_ops.upfirdn2d import centered

ASYMMETRIC = setup_filter((1.0, 4.0, 2.0, 0.5))


def definition(x, w, up, down, padding, groups):
    sides = (0, 0, 0, 0) if up == down == 1 else centered(ASYMMETRIC, up, down)
    sides = tuple(side + padding for side in sides)
    x = upfirdn2d(x, ASYMMETRIC if up > 1 else None, up=up, padding=sides, gain=up**2)
    x = upfirdn2d(x, ASYMMETRIC) if down > 1 else x  # filtered first and decimated last: convolutions commute
    return F.conv2d(x, w if up == 1 else w.flip([2, 3]), groups=groups)[:, :, ::down, ::down]


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2), (3, 1), (1, 3)])
@pytest.mark.parametrize("groups", [1, 2])
def test_equals_the_definition(kernel, up, down, groups):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 12, 6, dtype=torch.float64)
    w = torch.randn(6, 4 // groups, kernel, kernel, dtype=torch.float64)
    y = conv2d_resample(x, w, ASYMMETRIC, up, down, kernel // 2, groups)
    torch.testing.assert_close(y, definition(x, w, up, down, kernel // 2, groups))
    assert y.shape == (2, 6, 12 * up // down, 6 * up // down)


@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2)])
def test_is_differentiable_twice(up, down):
    x = torch.randn(1, 2, 6, 4, dtype=torch.float64, requires_grad=True)
    w = torch.randn(3, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    f = ASYMMETRIC
    assert torch.autograd.gradcheck(lambda x, w: conv2d_resample(x, w, f, up, down, padding=1), [x, w])
    assert torch.autograd.gradgradcheck(lambda x, w: conv2d_resample(x, w, f, up, down, padding=1), [x, w])


def test_refuses_weights_that_do_not_fit():
    message = r"^weights \(6, 3, 3, 3\) in 2 groups do not fit an input \(1, 4, 8, 8\)$"
    with pytest.raises(ValueError, match=message):
        conv2d_resample(torch.zeros(1, 4, 8, 8), torch.zeros(6, 3, 3, 3), groups=2)
    with pytest.raises(ValueError, match=r"^up is 2 and down is 2, expected 1 for one of them$"):
        conv2d_resample(torch.zeros(1, 4, 8, 8), torch.zeros(6, 4, 3, 3), up=2, down=2)


@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_channels_last_stays_channels_last(up, down, kernel):
    """A change of the memory format within a network would cost passes over memory."""
    x = torch.randn(2, 16, 8, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    w, f = torch.randn(8, 16, kernel, kernel), setup_filter((1, 3, 3, 1))
    y = conv2d_resample(x, w, f, up=up, down=down, padding=kernel // 2)
    (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert all(t.is_contiguous(memory_format=torch.channels_last) for t in (y, gradient))
