"""What truncation pulls w towards: the average w, or the nearest of several centers (multi-modal truncation).

The average of a varied data set is typical of nothing, but the center of each cluster of w is typical of a kind
(Mokady et al. 2022, "Self-Distilled StyleGAN", section 4, where nearness is LPIPS; here it is the distance in w).
Letters: M number of samples, K of centers, N batch, L layers, D width of w.
"""

import warnings
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.stylegan2.generator import StyledGenerator
from torch_utils.cli import counted, say
from torch_utils.seeds import generator

SAMPLES = 10_000  # w of each class that centers are found from
ROUNDS, BETWEEN_CHECKS = 10, 10  # of k-means: at most 10 times 10
AT_ONCE = 1000  # latents through the mapping


class Anchors:
    """The w that truncation pulls towards: the average, or the nearest of `count` centers of each class."""

    def __init__(self, G: StyledGenerator, count: int | None) -> None:
        self.count, self._G = count, G
        self._centers: dict[int | None, Tensor] = {}

    def of(self, ws: Tensor, labels: Sequence[int | None]) -> Tensor:
        """The anchor [N, D] of each w [N, L, D] and its class, None without classes."""
        if self.count is None:
            return self._G.mapping.w_average.to(ws).expand(len(ws), -1)
        for label in dict.fromkeys(labels):
            if label not in self._centers:
                of_class = "" if label is None else f" of class {label}"
                self._centers[label] = find_centers(draw_ws(self._G, label, SAMPLES), self.count)
                say(f"found {counted(self.count, 'center')} of {SAMPLES} w{of_class}")
        return torch.cat([nearest(w[None], self._centers[label]) for w, label in zip(ws, labels, strict=True)])


@torch.no_grad()
def draw_ws(G: StyledGenerator, label: int | None, count: int) -> Tensor:
    """The w of random latents of one class (None without classes), always the same ones: [count, D], on the CPU."""
    device = G.mapping.w_average.device
    z = torch.randn(count, G.config.z_dim, generator=generator("cpu", "centers"))
    c = None if label is None else F.one_hot(torch.tensor(label), G.config.classes).float().to(device)
    parts = [G.mapping(part, None if c is None else c.expand(len(part), -1)) for part in z.to(device).split(AT_ONCE)]
    return torch.cat(parts).cpu()


def find_centers(ws: Tensor, count: int) -> Tensor:
    """The centers [count, D] of that many clusters of w [M, D], at least as many, by k-means; both on the CPU.

    k-means++ (Arthur and Vassilvitskii 2007) chooses the first centers, always the same ones: each next center is one
    of the points, likelier the farther (squared) it is from those before.
    """
    from scipy.cluster.vq import kmeans2  # imported here because it takes half a second

    if not 1 <= count <= len(ws):
        raise ValueError(f"{count} centers of {len(ws)} w: expected 1 to {len(ws)}")
    points = ws.double()
    draws = torch.rand(count, generator=generator("cpu", "k-means++"), dtype=torch.float64)
    chosen = [points[int(draws[0] * len(points))]]
    square = (points - chosen[0]).square().sum(dim=1)  # [M], to the nearest of the chosen
    for draw in draws[1:]:  # scipy's own k-means++ compares with all earlier centers each time, and is much slower
        place = torch.searchsorted(square.cumsum(0), draw * square.sum(), right=True)
        chosen.append(points[min(int(place), len(points) - 1)])
        square = torch.minimum(square, (points - chosen[-1]).square().sum(dim=1))
    centers = torch.stack(chosen).numpy()
    for _ in range(ROUNDS):
        before = centers
        with warnings.catch_warnings(action="ignore"):  # a cluster that loses all its w keeps its center
            centers, _ = kmeans2(points.numpy(), centers, iter=BETWEEN_CHECKS, minit="matrix")
        if (centers == before).all():
            break
    return torch.from_numpy(centers).to(ws.dtype)


def nearest(ws: Tensor, centers: Tensor) -> Tensor:
    """The center [N, D] of centers [K, D] nearest to each of ws [N, L, D], which is the one nearest to its mean."""
    # On the CPU: not every device has float64.
    distances = torch.cdist(ws.cpu().double().mean(dim=1), centers.cpu().double())  # [N, K]
    return centers.cpu()[distances.argmin(dim=1)].to(ws)
