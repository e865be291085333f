"""Perceptual path length (Karras et al. 2019, section 4.1): how far pictures jump while a latent takes a tiny step.

Letters: N pairs, D dimensions.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from metrics.catalog import Metric
from metrics.features import Eye, Made
from models.paths import slerp
from models.perceptual.embeddings import for_lpips
from models.sampler import Straight

EPSILON = 1e-4  # length of a step as a share of the path
TRIM = (1, 99)  # percentiles: rare jumps and standstills do not count


def steps(metric: Metric, made: Made, lpips: Eye) -> Callable[[Sequence[int]], Tensor]:
    """A function from numbers of steps to their lengths [n] in the latent space of a network."""
    assert isinstance(made.sampler, Straight), "checked by Suite.count"
    sampler = made.sampler.in_float32()  # a step is smaller than the rounding of the shorter formats

    def lengths(indices: Sequence[int]) -> Tensor:
        begin, end = (made.requests(indices, start) for start in ("z", "other end"))
        return path_lengths(
            map_=lambda z: sampler.map(z, begin),
            render=lambda ws: sampler.render(ws, [*begin, *begin]),
            embed=lambda images: lpips(prepared(images, metric.crop)),
            z=(sampler.latents(begin), sampler.latents(end)),
            t=made.uniform(indices, "step") * float(metric.full),
            space=metric.space,
        )

    return lengths


@torch.no_grad()
def path_lengths(
    map_: Callable[[Tensor], Tensor],
    render: Callable[[Tensor], Tensor],
    embed: Callable[[Tensor], Tensor],
    z: tuple[Tensor, Tensor],
    t: Tensor,
    space: str,
) -> Tensor:
    """Squared perceptual distance of both ends of a step of 1e-4 of the path, divided by its square: [N].

    Args:
        map_: latents z [N, D] -> w [N, ...].
        render: w of the first ends and then of the second ones [2 N, ...] -> images [2 N, C, H, W] in [-1, 1].
        embed: images in [-1, 1] -> vectors whose squared distance is the perceptual one.
        z: both ends of the paths, [N, D] each.
        t: where on its path each step begins, [N] in 0..1, in float64: float32 would round a step by up to 0.03 %.
        space: "w", where paths are straight, or "z", where they run along the sphere.
    """
    if space == "w":
        a, b = (map_(end) for end in z)
        start, stop = (torch.lerp(a, b, s.view(-1, *[1] * (a.ndim - 1)).to(a)) for s in (t, t + EPSILON))
    else:
        a, b = (F.normalize(end, dim=1) for end in z)
        start, stop = (map_(slerp(a, b, s[:, None])) for s in (t, t + EPSILON))
    first, second = embed(render(torch.cat([start, stop]))).chunk(2)
    return (first - second).square().sum(dim=1) / EPSILON**2


def trimmed_mean(lengths: Tensor) -> float:
    """The mean of those lengths [N] that lie between the 1st and the 99th percentile, both included."""
    values = lengths.double().cpu().numpy()
    low, high = np.percentile(values, TRIM[0], method="lower"), np.percentile(values, TRIM[1], method="higher")
    return float(values[(values >= low) & (values <= high)].mean())


def prepared(images: Tensor, crop: bool) -> Tensor:
    """Images [N, C, H, W] in [-1, 1] -> pixels [N, C, h, w] in 0..255, not rounded, as LPIPS looks at them.

    With `crop` only the middle is left, where a face is: from 3/8 to 7/8 of the height, 2/8 to 6/8 of the width. Larger
    pictures are averaged down to 256 pixels.
    """
    if crop:
        h, w = (side // 8 for side in images.shape[2:])
        images = images[:, :, 3 * h : 7 * h, 2 * w : 6 * w]
    return for_lpips(images)
