"""Multi-modal truncation: w pulled towards the nearest of several centres in place of the one average.

Pulling all w towards one average makes all pictures alike. Of a varied data set the average is typical of nothing; the
centres of clusters of w are each typical of a kind (Mokady et al. 2022, "Self-Distilled StyleGAN", section 4). There
the nearest centre is that whose picture is nearest to the eye (LPIPS); here it is the nearest in w, which needs no
picture and no detector. Letters: M number of samples, K of centres, N batch, L layers, D width of w.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.stylegan2.styles import Samplable
from torch_utils.seeds import generator

ROUNDS = 100  # of k-means at most
AT_ONCE = 1000  # latents through the mapping


@torch.inference_mode()
def draw_ws(G: Samplable, label: int | None, count: int) -> Tensor:
    """The w of random latents of one class (None without classes), always the same ones: [count, D], on the CPU."""
    device = G.mapping.w_average.device
    z = torch.randn(count, G.config.z_dim, generator=generator("cpu", "centers"))
    c = None if label is None else F.one_hot(torch.tensor(label), G.config.classes).float().to(device)
    parts = [G.mapping(part, None if c is None else c.expand(len(part), -1)) for part in z.to(device).split(AT_ONCE)]
    return torch.cat(parts).cpu()


def find_centers(ws: Tensor, count: int) -> Tensor:
    """The centres [count, D] of as many clusters of w [M, D], by k-means (Lloyd 1982); both on the CPU.

    They begin as k-means++ draws them (Arthur and Vassilvitskii 2007), always alike, and move until no w changes its
    cluster, for 100 rounds at most. A cluster that loses all its w begins anew at one that is farthest from its centre.

    scipy.cluster.vq.kmeans2 finds centres as good (the mean squared distance of 10,000 w differs by less than 0.3 %),
    but its k-means++ looks at all earlier centres for each new one, so that 128 take 10 s there
    and 1.6 s here. It also leaves a cluster that loses all its w as it is, and moves for a fixed number of rounds.

    Raises:
        ValueError: when there are fewer w than centres.
    """
    if not 1 <= count <= len(ws):
        raise ValueError(f"{count} centres of {len(ws)} w: wanted 1 to {len(ws)}")
    points = ws.double()
    centers = _spread_out(points, count)
    before = None
    for _ in range(ROUNDS):
        distances = torch.cdist(points, centers)  # [M, K]
        distance, cluster = distances.min(dim=1)
        if before is not None and torch.equal(cluster, before):
            break
        centers, before = _means(points, cluster, distance, count), cluster
    return centers.to(ws.dtype)


def nearest(ws: Tensor, centers: Tensor) -> Tensor:
    """Of each of ws [N, L, D] the centre [N, D] that is nearest to it, of centers [K, D], on the device of `ws`.

    Multi-modal truncation is `truncate` with it in the place of the average (Mokady et al. 2022, section 4):
    w' = centre + psi * (w - centre).

    Nearest to all layers together (the sum of squares) is what is nearest to their mean.
    """
    # On the CPU: not every device knows double.
    distances = torch.cdist(ws.cpu().double().mean(dim=1), centers.cpu().double())  # [N, K]
    return centers.cpu()[distances.argmin(dim=1)].to(ws)


def _spread_out(points: Tensor, count: int) -> Tensor:
    """k-means++: each next centre is one of the points, the likelier the farther (squared) it is from those before."""
    draws = torch.rand(count, generator=generator("cpu", "k-means++"), dtype=torch.float64)
    chosen = [points[int(draws[0] * len(points))]]
    square = (points - chosen[0]).square().sum(dim=1)  # [M], to the nearest of the chosen
    for draw in draws[1:]:
        place = torch.searchsorted(square.cumsum(0), draw * square.sum(), right=True)
        chosen.append(points[min(int(place), len(points) - 1)])
        square = torch.minimum(square, (points - chosen[-1]).square().sum(dim=1))
    return torch.stack(chosen)


def _means(points: Tensor, cluster: Tensor, distance: Tensor, count: int) -> Tensor:
    """The mean of each cluster's points [count, D]; empty clusters take the farthest points of all."""
    sizes = torch.bincount(cluster, minlength=count)  # [K]
    sums = torch.zeros(count, points.shape[1], dtype=points.dtype)
    means = sums.index_add_(0, cluster, points) / sizes.clamp(min=1)[:, None]
    empty = (sizes == 0).nonzero().flatten()
    means[empty] = points[distance.topk(len(empty)).indices]
    return means
