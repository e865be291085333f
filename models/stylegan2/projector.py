"""Projection: which latents of a network show given images (Karras et al. 2020, section 5 and appendix D).

The latents w, and with them the noise of every layer, are optimized until the synthesis shows the targets. In W all
layers share one w, as in the paper; in W+ each layer has its own (Abdal et al. 2019, section 3), which fits any picture
better but may leave the pictures that the network knows. Targets do not influence one another.
Letters: N targets, L number of w, D width of w, C H W an image, t the share of the steps that are done.
"""

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
    """Autocorrelation of noise maps [N, 1, H, W], 0 for white noise: [N] (appendix D, L_ij).

        L_ij = (mean of n(x, y) n(x - 1, y))^2 + (mean of n(x, y) n(x, y - 1))^2

    summed over the map and its reductions down to 8 pixels: 2 x 2 averages times 2, which keep white noise's variance.
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
        """Prepare the first step.

        Args:
            G: the network, without gradients; it is not changed.
            targets: images [N, C, H, W] in [-1, 1] of the network's size.
            embed: images -> vectors; their squared distance is the loss.
            settings: of the projection.
            starts: w [N, D] to start from.
            scale: of w, for the noise on it.
        """
        self.G, self.settings, self.scale, self._embed = G, settings, scale, embed
        with torch.no_grad():
            self._goal = embed(targets)  # [N, ...]
        layers = G.config.num_ws if settings.space == "w+" else 1
        self.w = starts[:, None, :].repeat(1, layers, 1).requires_grad_()
        # Noise of strength 0 is invisible and cannot be fitted.
        noisy = [bool(layer.noise.strength != 0) for layer in G.synthesis.layers]
        self.maps = _draw_maps(G, len(targets), settings.seed) if settings.noise == "fit" and any(noisy) else None
        pairs = zip(self.maps or [], noisy, strict=False)
        self._fitted = [noise.requires_grad_() for noise, is_fitted in pairs if is_fitted]
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


def _draw_maps(G: Generator, count: int, seed: int) -> list[Tensor]:
    """White noise for every layer, the same for each of the targets: [N, 1, H, W]."""
    device = G.mapping.w_average.device
    draws = generator(device, seed, "noise of layers")
    shapes = [layer.noise.fixed.shape for layer in G.synthesis.layers]
    return [torch.randn(1, 1, *shape, device=device, generator=draws).repeat(count, 1, 1, 1) for shape in shapes]


@torch.no_grad()
def class_means(G: Generator, seed: int, label: int | None = None) -> tuple[Tensor, float]:
    """The mean w of each class [K, D], and the scale of w: the root mean squared distance from its class's mean.

    These are the midpoint of W and its deviation in appendix D. K is 1 without classes, with a `label`, and for a
    network with more than 100 classes, of which it is the mean over all.
    """
    device, classes = G.mapping.w_average.device, G.config.classes
    z = torch.randn(SAMPLES, G.config.z_dim, device=device, generator=generator(device, seed, "samples of w"))
    if not classes:
        groups = [G.mapping(z)]
    elif label is None and classes > MOST_CLASSES:
        groups = [G.mapping(z, F.one_hot(torch.arange(SAMPLES, device=device) % classes, classes))]
    else:
        each = range(classes) if label is None else [label]
        c = torch.eye(classes, device=device)
        groups = [G.mapping(z, c[k].expand(SAMPLES, -1)) for k in each]
    w = torch.stack(groups)  # [K, samples, D]
    means = w.mean(dim=1)
    return means, float((w - means[:, None]).square().sum(dim=2).mean().sqrt())


@torch.no_grad()
def nearest_mean(G: Generator, starts: Tensor, targets: Tensor, embed: Embed) -> Tensor:
    """The number [N] of the start of [K, D] whose image is nearest to each of the targets [N, C, H, W]."""
    if len(starts) == 1:
        return torch.zeros(len(targets), dtype=torch.long, device=starts.device)
    goal = embed(targets)
    found = []
    for w in starts:
        image = G.synthesis(w.expand(1, G.config.num_ws, -1), "const")
        found.append(distances(goal, embed(image)))
    return torch.stack(found).argmin(dim=0)
