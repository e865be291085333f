"""Sliced Wasserstein distance between patches of Laplacian pyramids (Karras et al. 2018, section 5), as pure functions.

It needs no detector: of every image, 128 patches of 7x7 pixels are taken at random places of each level of its
pyramid, colors are standardized over each set, and the patches of two sets are compared along 512 random directions.
The distance of a level tells how alike the structures of that size are; here the mean over the levels counts. Times
1000, as in the paper. Letters: N images, L levels, P patches, C channels, H W, K points = N P, F = C 7 7.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from metrics.distances import CPU, dealt, shared
from torch_utils import seeds

LEAST = 16  # pixels of the shorter side of the last level
PATCH, PATCHES = 7, 128
DIRECTIONS, TOGETHER = 512, 16
SCALE = 1000.0
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def sliced_wasserstein(a: Tensor | None, b: Tensor | None, device: torch.device = CPU) -> float:
    """1000 times the distance between two sets of patches from `descriptors`, the mean over levels.

    The sets are on rank 0, None elsewhere. Each level is sent to `device` of every process, which computes its share
    of the directions. All processes must call it. Raises ValueError if the sets differ in number or shape.
    """
    if a is not None and b is not None and a.shape != b.shape:
        raise ValueError(
            f"swd compares equally many images of the same size and channels, but these differ from the data's "
            f"(patches {list(b.shape)} and {list(a.shape)}): convert them with dataset_tool.py, or leave swd out"
        )
    levels = int(shared(None if a is None else torch.tensor(a.shape[1]), device))
    found = []
    for level in range(levels):
        pair = (shared(None if patches is None else patches[:, level], device) for patches in (a, b))
        found.append(level_distance(*pair))
    return sum(found) / levels


def level_distance(a: Tensor, b: Tensor) -> float:
    """1000 times the distance of two sets of patches of one level, [N, P, C, 7, 7] each.

    The mean over directions of the Wasserstein-1 distance of the projected points.
    """
    a, b = _standardized(a), _standardized(b)
    directions = torch.randn(DIRECTIONS, len(a), generator=seeds.generator("cpu", "directions", len(a)))
    parts = F.normalize(directions, dim=1).to(a.device).split(TOGETHER)

    def compute(number: slice) -> Tensor:
        part = parts[number.start]
        return (_sorted(part @ a) - _sorted(part @ b)).abs().double().mean()

    return SCALE * dealt(len(parts), 1, compute, a.new_zeros([], dtype=torch.float64)).mean().item()


def descriptors(images: Tensor, indices: Sequence[int]) -> Tensor:
    """Patches of the pyramids of images [N, C, H, W] of any scale: [N, L, P, C, 7, 7] in float16, for they are many.

    `indices` [N], the numbers of the images in their set, alone decide where their patches are taken.
    """
    levels = pyramid(images.float())
    size = min(PATCH, *images.shape[2:])
    drawn = [torch.rand(len(levels), 2, PATCHES, generator=seeds.generator("cpu", "patches", i)) for i in indices]
    places = torch.stack(drawn, dim=1)  # in [0, 1), [L, N, 2, P]
    taken = [_patches(level, where, size) for level, where in zip(levels, places.to(images.device), strict=True)]
    return torch.stack(taken, dim=1).half()


def pyramid(images: Tensor) -> list[Tensor]:
    """The Laplacian pyramid of images [N, C, H, W] (Burt and Adelson 1983), from full resolution down.

    Each level is half as large as the one before and holds what is lost when that is reduced; the last one is the
    reduced image. Sides are halved while they are even and stay at least 16.
    """
    levels = []
    while all(side % 2 == 0 for side in images.shape[2:]) and min(images.shape[2:]) >= 2 * LEAST:
        smaller = _filtered(images, 1.0)[:, :, ::2, ::2]
        enlarged = torch.zeros_like(images)
        enlarged[:, :, ::2, ::2] = smaller
        levels.append(images - _filtered(enlarged, 4.0))
        images = smaller
    return [*levels, images]


def _filtered(images: Tensor, gain: float) -> Tensor:
    """Low-passed by the binomial filter, mirrored at the borders."""
    taps = images.new_tensor(BINOMIAL)
    kernel = (taps.outer(taps) * gain).expand(images.shape[1], 1, -1, -1)
    return F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel, groups=images.shape[1])


def _patches(level: Tensor, places: Tensor, size: int) -> Tensor:
    """Level [N, C, H, W] and places [N, 2, P] -> patches [N, P, C, size, size]."""
    windows = level.unfold(2, size, 1).unfold(3, size, 1)  # [N, C, H', W', size, size]
    y, x = ((places[:, axis] * windows.shape[2 + axis]).long() for axis in (0, 1))  # [N, P]
    return windows[torch.arange(len(level), device=level.device)[:, None], :, y, x]


def _standardized(patches: Tensor) -> Tensor:
    """Patches [N, P, C, 7, 7] with mean 0 and standard deviation 1 of every channel over the set, [F, K]."""
    x = patches.float().flatten(0, 1)  # [K, C, 7, 7]
    deviation, mean = torch.std_mean(x, dim=(0, 2, 3), keepdim=True, correction=0)
    x = (x - mean) / deviation.where(deviation > 0, 1.0)  # a channel of one color, opaque alpha, stays 0
    return x.flatten(1).T.contiguous()


def _sorted(rows: Tensor) -> Tensor:
    if rows.device.type == "cpu":
        return torch.from_numpy(np.sort(rows.numpy(), axis=1))  # several times faster than PyTorch's own
    return rows.sort(dim=1).values
