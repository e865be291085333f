"""Bilinear resizing as in TensorFlow 1, which published FIDs depend on.

Output pixel i is read at i * (input / output): pictures are not centered, and not low-pass filtered when reduced. Both
are known faults (Parmar et al. 2022) and part of the definition of the FID.
"""

import torch
from torch import Tensor


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Images [N, C, H, W] of a floating-point dtype -> [N, C, height, width]."""
    x = _along(images, 3, width)
    return _along(x, 2, height)


def _along(x: Tensor, axis: int, size: int) -> Tensor:
    last = x.shape[axis] - 1
    place = torch.arange(size, dtype=torch.float32, device=x.device) * (x.shape[axis] / size)
    low = place.long().clamp(max=last)
    share = (place - low).to(x.dtype)
    shape = [1, 1, 1, 1]
    shape[axis] = size
    below = x.index_select(axis, low)
    return below + (x.index_select(axis, (low + 1).clamp(max=last)) - below) * share.view(shape)
