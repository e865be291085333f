"""Bilinear sampling of images, differentiable any number of times.

PyTorch's `grid_sample` can be differentiated once, but R1 through an augmentation needs two derivatives. Sampling at
the places g is linear in the images, y = S(g) x, so its gradient is S(g)^T dy, whose gradient is sampling again.
"""

from typing import Any

import torch
from torch import Tensor

_PLAIN = (0, 0, False)  # bilinear, zeros beyond the edges, align_corners=False


def grid_sample(x: Tensor, grid: Tensor) -> Tensor:
    """`F.grid_sample(x, grid, "bilinear", "zeros", align_corners=False)`, differentiable any number of times.

    Images [N, C, H, W] -> [N, C, H', W']. The grid [N, H', W', 2] has places (horizontal, vertical), without gradient;
    -1 and 1 are the outer edges of the first and the last pixel.
    """
    if grid.requires_grad:
        raise ValueError("grid_sample does not differentiate the grid, which requires a gradient: detach the grid")
    return _Sampling.apply(x, grid, None)


class _Sampling(torch.autograd.Function):
    """S(g) x or, with the size [H, W] of the result, S(g)^T x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Tensor, size: torch.Size | None) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.size = x.shape[2:] if size is None else None
        if size is None:
            return torch.ops.aten.grid_sampler_2d(x, grid, *_PLAIN)
        unordered = x.device.type == "cuda" and torch.are_deterministic_algorithms_enabled()
        if unordered or x.device.type == "mps":  # CUDA adds in a random order, MPS has no such kernel
            return scatter_by_index(x, grid, size)
        like = x.new_zeros(1).expand(*x.shape[:2], *size)  # only its shape is used
        return torch.ops.aten.grid_sampler_2d_backward(x, like, grid, *_PLAIN, [True, False])[0]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        return _Sampling.apply(dy, *ctx.saved_tensors, ctx.size), None, None


def scatter_by_index(dy: Tensor, grid: Tensor, size: torch.Size) -> Tensor:
    """S(g)^T dy [N, C, *size] by adding at indices, which PyTorch does in a fixed order in its deterministic mode."""
    (N, C), (H, W) = dy.shape[:2], size
    x, y = ((grid[..., 0] + 1) * W - 1) / 2, ((grid[..., 1] + 1) * H - 1) / 2  # whole numbers at the centers of pixels
    first = torch.arange(N, device=dy.device)[:, None, None] * (H * W)
    dx = dy.new_zeros(N * H * W, C)
    for column in (x.floor(), x.floor() + 1):
        for row in (y.floor(), y.floor() + 1):
            inside = (column >= 0) & (column < W) & (row >= 0) & (row < H)
            weight = torch.where(inside, (1 - (x - column).abs()) * (1 - (y - row).abs()), 0.0)  # [N, H', W']
            index = first + torch.where(inside, row * W + column, 0.0).long()
            values = (dy * weight[:, None]).movedim(1, 3).reshape(-1, C)
            dx.index_put_((index.flatten(),), values, accumulate=True)
    return dx.reshape(N, H, W, C).movedim(3, 1).contiguous()
