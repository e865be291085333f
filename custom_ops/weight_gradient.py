"""The gradient of a convolution's weights by matrix products, for CPUs whose convolution library is slow at it.

For y = x * w with stride s, and each offset (r, c) of the kernel,

    gw[o, i, r, c] = sum over n, h, v of gy[n, o, h, v] x[n, i, s h + r, s v + c]

is the product of two matrices with one row per position: gy, and x shifted by the offset. In channels_last, with gy
padded to as many columns as x, a shift only changes the first row, so nothing is copied.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Numbers in one image of the input, or in the weights of one kernel position: half a MiB of float32. Above that,
# oneDNN's AVX2 kernels wait for memory, and the products are up to 6 times as fast (benchmarks/README.md).
_LARGE = 2**17
_FEW_CHANNELS = 32  # with fewer channels the matrices are too thin
_ROWS = 2**14  # of a matrix, at least: images are computed together

_OF_AVX2 = torch.backends.cpu.get_cpu_capability() == "AVX2" and torch.backends.mkl.is_available()

torch.library.define(
    "custom_ops::weight_gradient", "(Tensor gy, Tensor x, int[2] kernel, int[2] stride, int[2] padding) -> Tensor"
)


def prefers_products(gy: Tensor, x: Tensor, kernel: Sequence[int]) -> bool:
    """Whether `weight_gradient` is faster than the convolution library, by processor, dtype and shapes.

    Args:
        gy: gradient of the output [N, O, H, W].
        x: input [N, I, H', W'].
        kernel: (rows, columns).
    """
    if not _OF_AVX2 or x.device.type != "cpu" or x.dtype != torch.float32 or min(kernel) < 2:
        return False
    (_, I, H, W), O = x.shape, gy.shape[1]
    return min(O, I) >= _FEW_CHANNELS and max(I * H * W, I * O) > _LARGE


def weight_gradient(
    gy: Tensor, x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """The gradient [O, I, rows, columns], channels_last, of the weights that made y [N, O, H, W] of x [N, I, H', W'].

    Args:
        gy: gradient of y.
        x: input.
        kernel, stride, padding: of the convolution, (vertical, horizontal).
    """
    return torch.ops.custom_ops.weight_gradient(gy, x, kernel, stride, padding)


def _products(gy: Tensor, x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    (N, O, H, W), I = gy.shape, x.shape[1]
    (rows, columns), (down, across) = kernel, stride
    # x is split into down * across pictures of every down-th row and across-th column.
    height, width = H - 1 + -(-rows // down), W - 1 + -(-columns // across)
    gw = x.new_zeros(O, rows, columns, I)
    together = max(_ROWS // (height * width), 1)
    for n in range(0, N, together):
        g = _pixels(gy[n : n + together], (0, 0), (height, width)).reshape(-1, O).t()
        pictures = _pixels(x[n : n + together], padding, (height * down, width * across))
        pictures = pictures.unflatten(2, (width, across)).unflatten(1, (height, down)).permute(2, 4, 0, 1, 3, 5)
        pictures = pictures.reshape(down, across, -1, I)
        for row in range(rows):
            for column in range(columns):
                first = row // down * width + column // across
                shifted = pictures[row % down, column % across, first:]
                gw[:, row, column].addmm_(g[:, : len(shifted)], shifted)
    return gw.permute(0, 3, 1, 2)


def _pixels(x: Tensor, before: Sequence[int], size: Sequence[int]) -> Tensor:
    """[N, C, H, W] -> [N, height, width, C], with zeros on top and left, then padded or cropped to the size."""
    (top, left), (height, width) = before, size
    return F.pad(x.permute(0, 2, 3, 1), (0, 0, left, width - left - x.shape[3], top, height - top - x.shape[2]))


torch.library.impl("custom_ops::weight_gradient", "CompositeExplicitAutograd", _products)


@torch.library.register_fake("custom_ops::weight_gradient")
def _fake(gy: Tensor, x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    return x.new_empty(gy.shape[1], *kernel, x.shape[1]).permute(0, 3, 1, 2)
