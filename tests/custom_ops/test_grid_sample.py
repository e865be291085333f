"""Bilinear look-up against PyTorch's, and its derivatives against finite differences."""

import pytest
import torch
import torch.nn.functional as F

from custom_ops.grid_sample import grid_sample, scatter_by_index


def case(N=2, C=3, size=(5, 7), out=(4, 6), dtype=torch.float64):
    """Images, and places of which some lie beyond the edges."""
    torch.manual_seed(0)
    x = torch.randn(N, C, *size, dtype=dtype, requires_grad=True)
    return x, torch.rand(N, *out, 2, dtype=dtype) * 3 - 1.5


@pytest.mark.parametrize("size, out", [((5, 7), (4, 6)), ((1, 1), (3, 2)), ((8, 3), (1, 9))])
def test_equals_pytorch(size, out):
    x, grid = case(size=size, out=out)
    y = grid_sample(x, grid)
    expected = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    assert torch.equal(y, expected) and y.abs().sum() > 0
    dy = torch.randn_like(y)
    assert torch.equal(*(torch.autograd.grad(out, x, dy)[0] for out in (y, expected)))


def test_derivatives_of_every_order():
    x, grid = case(N=1, C=2, size=(4, 3), out=(3, 2))
    assert torch.autograd.gradcheck(grid_sample, (x, grid))
    assert torch.autograd.gradgradcheck(grid_sample, (x, grid))
    # Linear, so curvature comes from outside; of a square of the gradient there is a third derivative, too.
    (dx,) = torch.autograd.grad(grid_sample(x, grid).pow(3).sum(), x, create_graph=True)
    (ddx,) = torch.autograd.grad(dx.square().sum(), x, create_graph=True)
    (dddx,) = torch.autograd.grad(ddx.sum(), x)
    assert dddx.isfinite().all() and dddx.abs().sum() > 0


def test_the_gradient_can_be_gathered_by_index():
    """As CUDA does where all has to be in a settled order, and MPS always."""
    x, grid = case()
    dy = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    (expected,) = torch.autograd.grad(grid_sample(x, grid), x, dy)
    torch.testing.assert_close(scatter_by_index(dy, grid, x.shape[2:]), expected)


def test_a_grid_that_wants_a_gradient_is_refused():
    x, grid = case()
    with pytest.raises(ValueError, match="grid_sample does not differentiate the grid, which requires a gradient"):
        grid_sample(x, grid.requires_grad_())
