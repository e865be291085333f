"""Projection: which latents of a network show given images; and pivotal tuning of the network to them.

The latents w and the noise of every layer are optimized until the synthesis shows the targets, each independently
(Karras et al. 2020, section 5 and appendix D). In W all layers share one w; in W+ each layer has its own (Abdal et al.
2019, section 3). Pivotal tuning then trains the weights of the synthesis until these latents, the pivots, show the
targets (Roich et al. 2021). Letters: N targets, L number of w, D width of w, t the share of the steps that are done.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from models.perceptual.embeddings import Embed
from models.stylegan2.generator import Generator
from torch_utils.seeds import generator

Space = Literal["w", "w+"]
NoiseFit = Literal["fit", "const", "none"]

SAMPLES = 10_000  # of w, for its mean and its scale
RISE, FALL = 0.05, 0.25  # shares of the steps in which the learning rate rises and falls
W_NOISE, W_NOISE_UNTIL = 0.05, 0.75  # share of the scale of w, and of the steps
NOISE_WEIGHT = 1e5  # of the regularization of the noise, alpha in the paper
LEAST = 8  # pixels of a side down to which noise is regularized
MOST_CLASSES = 100  # whose mean images are all compared with a target to choose the start


def learning_rate(t: float, highest: float) -> float:
    """The learning rate at t in 0 .. 1: it rises linearly from 0, and falls to 0 as a cosine (appendix D)."""
    fall = 0.5 - 0.5 * cos(pi * min(1.0, (1 - t) / FALL))
    return highest * fall * min(1.0, t / RISE)


def w_noise(t: float, scale: float) -> float:
    """Standard deviation of the exploration noise on w at t: 0.05 scale (1 - t / 0.75)^2 (appendix D)."""
    return W_NOISE * scale * max(0.0, 1 - t / W_NOISE_UNTIL) ** 2


def noise_correlation(noise: Tensor) -> Tensor:
    """Autocorrelation of noise maps [N, 1, H, W], 0 for white noise: [N] (appendix D).

    L_ij = (mean of n(x, y) n(x - 1, y))^2 + (mean of n(x, y) n(x, y - 1))^2, summed over the map and its reductions
    down to 8 pixels: 2 x 2 averages times 2, which keep white noise's variance.
    """
    total = noise.new_zeros(len(noise))
    while True:
        for axis in (2, 3):
            total = total + (noise * noise.roll(1, dims=axis)).mean(dim=[1, 2, 3]).square()
        if min(noise.shape[2:]) < 2 * LEAST:
            return total
        noise = F.avg_pool2d(noise, 2) * 2


@torch.no_grad()
def normalize(noise: Tensor) -> None:
    """Give each map of [N, 1, H, W] mean 0 and variance 1, in place, so that no signal hides in its strength."""
    noise -= noise.mean(dim=[1, 2, 3], keepdim=True)
    noise *= noise.square().mean(dim=[1, 2, 3], keepdim=True).clamp(min=1e-12).rsqrt()


@dataclass(frozen=True)
class ProjectionSettings:
    """Settings of a projection."""

    space: Space = "w+"  # one w for all layers, or W+ with one for each
    steps: int = 1000  # as in the paper
    rate: float = 0.1  # maximum learning rate
    noise: NoiseFit = "fit"  # of the layers: fitted with w, the network's own, or none
    seed: int = 0  # of the samples of w and of all noise


class Projection:
    """The optimization of some targets together. `step` sets `losses` [N] and `images` [N, C, H, W] of its latents."""

    def __init__(
        self, G: Generator, targets: Tensor, embed: Embed, settings: ProjectionSettings, starts: Tensor, scale: float
    ) -> None:
        """Prepare the first step from w `starts` [N, D] towards images [N, C, H, W] in [-1, 1]; `scale` is that of w.

        The loss is the squared distance of the vectors that `embed` makes of images. The network is not changed.
        """
        self.G, self.settings, self.scale, self._embed = G, settings, scale, embed
        with torch.no_grad():
            self._goal = embed(targets)  # [N, ...]
        layers = G.config.num_ws if settings.space == "w+" else 1
        self.w = starts[:, None, :].repeat(1, layers, 1).requires_grad_()
        # Noise of strength 0 is invisible and cannot be fitted.
        noisy = [bool(layer.noise.strength != 0) for layer in G.synthesis.layers]
        self.maps: list[Tensor] | None = None
        if settings.noise == "fit" and any(noisy):  # white noise for every layer, the same for each of the targets
            source = generator(targets.device, settings.seed, "noise of layers")
            shapes = [(1, 1, *layer.noise.fixed.shape) for layer in G.synthesis.layers]
            drawn = [torch.randn(shape, device=targets.device, generator=source) for shape in shapes]
            self.maps = [noise.repeat(len(targets), 1, 1, 1) for noise in drawn]  # [N, 1, H, W]
        self._fitted = [noise.requires_grad_() for noise, fit in zip(self.maps or [], noisy, strict=False) if fit]
        self.images, self.losses = torch.empty_like(targets), targets.new_zeros(len(targets))
        self._draws = generator(targets.device, settings.seed, "noise of w")
        self._optimizer = torch.optim.Adam([self.w, *self._fitted])
        self._done = 0

    @property
    def ws(self) -> Tensor:
        """The current latents [N, L, D]."""
        return self.w.detach().repeat(1, self.G.config.num_ws // self.w.shape[1], 1)

    def step(self) -> Tensor:
        """Take a step. Returns the losses [N] before it."""
        t = self._done / self.settings.steps
        # The same for all targets, so that each ends as it would alone.
        draw = torch.randn(1, *self.w.shape[1:], device=self.w.device, generator=self._draws)
        ws = (self.w + draw * w_noise(t, self.scale)).expand(-1, self.G.config.num_ws, -1)
        images = render(self.G, ws, self.settings.noise, self.maps)  # [N, C, H, W]
        losses = distances(self._embed(images), self._goal)  # [N]
        correlation = sum((noise_correlation(noise).sum() for noise in self._fitted), losses.new_zeros([]))
        self._optimizer.zero_grad()
        (losses.sum() + NOISE_WEIGHT * correlation).backward()
        self._optimizer.param_groups[0]["lr"] = learning_rate(t, self.settings.rate)
        self._optimizer.step()
        for noise in self._fitted:
            normalize(noise)
        self._done += 1
        self.images, self.losses = images.detach(), losses.detach()
        return self.losses


def render(G: Generator, ws: Tensor, noise: NoiseFit, maps: Sequence[Tensor] | None) -> Tensor:
    """The images of ws [N, L, D] with fitted noise (`maps`), the network's own (`const`) or none."""
    if maps is not None:
        return G.synthesis.with_noise(ws, maps)
    return G.synthesis(ws, "none" if noise == "none" else "const")


def distances(vectors: Tensor, others: Tensor) -> Tensor:
    """Squared distances of vectors [N, ...] from others, [N]."""
    return (vectors - others).square().flatten(1).sum(dim=1)


@torch.no_grad()
def class_means(G: Generator, seed: int, label: int | None = None) -> tuple[Tensor, float]:
    """The mean w of each class [K, D], and the scale of w: the root mean squared distance from the means (appendix D).

    K is 1 without classes, with a `label`, and over all classes of a network with more than 100.
    """
    device, classes = G.mapping.w_average.device, G.config.classes
    z = torch.randn(SAMPLES, G.config.z_dim, device=device, generator=generator(device, seed, "samples of w"))
    c: list[Tensor | None] = [None]
    if classes and label is None and classes > MOST_CLASSES:
        c = [F.one_hot(torch.arange(SAMPLES, device=device) % classes, classes)]
    elif classes:
        each = torch.eye(classes, device=device) if label is None else torch.eye(classes, device=device)[[label]]
        c = [of_class.expand(SAMPLES, -1) for of_class in each]
    w = torch.stack([G.mapping(z, of_class) for of_class in c])  # [K, samples, D]
    means = w.mean(dim=1)
    return means, float((w - means[:, None]).square().sum(dim=2).mean().sqrt())


@torch.no_grad()
def nearest_mean(G: Generator, starts: Tensor, targets: Tensor, embed: Embed) -> Tensor:
    """The number [N] of the start of [K, D] whose image is nearest to each of the targets [N, C, H, W]."""
    if len(starts) == 1:
        return torch.zeros(len(targets), dtype=torch.long, device=starts.device)
    goal = embed(targets)
    images = (G.synthesis(w.expand(1, G.config.num_ws, -1), "const") for w in starts)
    return torch.stack([distances(goal, embed(image)) for image in images]).argmin(dim=0)


@dataclass(frozen=True)
class TuningSettings:
    """Settings of a tuning."""

    steps: int = 350
    locality: float = 0.0  # weight of locality regularization; 0.1 in section 3.3
    noise: NoiseFit = "fit"  # of the layers, as in the projection
    batch: int = 8  # targets that are computed together; gradients of more are accumulated
    seed: int = 0  # of the latents that the regularization looks at
    rate: float = 3e-4  # learning rate of Adam, as in the paper


class Tuning:
    """The training of a copy of the network, `G`, on pivots and their targets. `step` sets `losses` [N]."""

    def __init__(
        self,
        original: Generator,
        pivots: Tensor,
        maps: Sequence[Tensor] | None,
        targets: Tensor,
        embed: Embed,
        settings: TuningSettings,
        scale: float,
    ) -> None:
        """Prepare the first step from pivots w [N, L, D], with the noise of each layer [N, 1, H, W] if it was fitted.

        Targets and `embed` as for `Projection`. `scale` is the distance from a pivot that is regularized (alpha, 3.3).
        """
        self.original, self.pivots, self.maps, self._embed = original, pivots, maps, embed
        self.settings, self.scale = settings, scale
        with torch.no_grad():
            self._goals = torch.cat([embed(part) for part in targets.split(settings.batch)])
        self.G = copy.deepcopy(original).train()  # unfolded
        self._optimizer = torch.optim.Adam(self.G.synthesis.requires_grad_().parameters(), lr=settings.rate)
        self.losses = pivots.new_zeros(len(pivots))
        self._draws = generator(pivots.device, settings.seed, "locality")

    def step(self) -> Tensor:
        """Take a step. Returns the losses [N] before it."""
        self._optimizer.zero_grad()
        count, found = len(self.pivots), []
        for start in range(0, count, self.settings.batch):
            part = slice(start, start + self.settings.batch)
            maps = None if self.maps is None else [noise[part] for noise in self.maps]
            images = render(self.G, self.pivots[part], self.settings.noise, maps)
            losses = distances(self._embed(images), self._goals[part])  # [n]
            (losses.sum() / count).backward()
            found.append(losses.detach())
        if self.settings.locality:
            (self.settings.locality * self._locality()).backward()
        self._optimizer.step()
        self.losses = torch.cat(found)
        return self.losses

    def finish(self) -> Generator:
        """The tuned network, without gradients."""
        return self.G.requires_grad_(False).eval()

    def _locality(self) -> Tensor:
        """The distance of the network from the original near a random pivot (section 3.3, L_R)."""
        config, device = self.original.config, self.pivots.device
        which = int(torch.randint(len(self.pivots), [1], device=device, generator=self._draws))
        z, c = torch.randn(1, config.z_dim, device=device, generator=self._draws), None
        if config.classes:
            c = F.one_hot(torch.randint(config.classes, [1], device=device, generator=self._draws), config.classes)
        ws = neighbor(self.pivots[which], self.original.mapping(z, c)[0], self.scale)[None]
        noise: NoiseFit = "none" if self.settings.noise == "none" else "const"
        with torch.no_grad():
            before = self._embed(render(self.original, ws, noise, None))
        return distances(self._embed(render(self.G, ws, noise, None)), before).sum()


def neighbor(pivot: Tensor, w: Tensor, distance: float) -> Tensor:
    """w_r = pivot + distance * (w - pivot) / ||w - pivot|| for each layer of a pivot [L, D] and w [D] (section 3.3)."""
    return pivot + distance * F.normalize(w - pivot, dim=-1)
