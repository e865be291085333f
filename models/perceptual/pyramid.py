"""How alike two images are, without a pretrained network: pixels and their gradients at several sizes.

Pixels alone judge an edge that lies a little aside as harshly as one that is missing. Smaller sizes forgive what lies
aside, and gradients ask for the edges themselves (Mathieu et al. 2016, section 3.2; sizes as the Laplacian pyramid of
Bojanowski et al. 2018 has them). Letters: N batch, C channels, H W size, S number of sizes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST = 8  # pixels of a side: smaller pictures say nothing of shape
GRADIENT = 1.0  # weight of the gradients beside the pixels


def pyramid_vectors(images: Tensor, gradient: float = GRADIENT) -> Tensor:
    """Images [N, C, H, W] -> vectors [N, D] whose squared distance is

        1/S  sum over the sizes of  MSE(x, y) + gradient * (MSE(dx/dh, dy/dh) + MSE(dx/dv, dy/dv))

    where MSE is the mean square of the difference, and d/dh and d/dv are the differences of neighbours.
    """
    sizes = pyramid(images)
    parts = []
    for x in sizes:
        maps = [(x, 1.0), (x.diff(dim=3), gradient), (x.diff(dim=2), gradient)]
        parts += [m.flatten(1) * (weight / (len(sizes) * m[0].numel())) ** 0.5 for m, weight in maps if m.numel()]
    return torch.cat(parts, dim=1)


def pyramid(images: Tensor) -> list[Tensor]:
    """The images and their halves by averages of 2 x 2 pixels, as long as the shorter side has 8 pixels."""
    sizes = [images]
    while min(sizes[-1].shape[2:]) >= 2 * LEAST:
        sizes.append(F.avg_pool2d(sizes[-1], 2))
    return sizes
