"""Pivotal tuning: the weights of the synthesis are trained until a projection's latents, the pivots, show the targets.

(Roich et al. 2021.) Pictures of other latents change little, and less with locality regularization.
Letters: N targets, L number of w, D width of w.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.perceptual.embeddings import Embed
from models.stylegan2.generator import Generator
from models.stylegan2.projector import NoiseFit, distances, render
from torch_utils.seeds import generator


@dataclass(frozen=True)
class TuningSettings:
    """Settings of a tuning."""

    steps: int = 350
    rate: float = 3e-4  # learning rate of Adam, as in the paper
    locality: float = 0.0  # weight of locality regularization; 0.1 in section 3.3
    noise: NoiseFit = "fit"  # of the layers, as in the projection
    batch: int = 8  # targets that are computed together; gradients of more are accumulated
    seed: int = 0  # of the latents that the regularization looks at


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
        """Prepare the first step.

        Args:
            original: the network, which is not changed.
            pivots: w [N, L, D] of the targets.
            maps: noise of each layer [N, 1, H, W] that the projection fitted, or None.
            targets: images [N, C, H, W] in [-1, 1].
            embed: images -> vectors; their squared distance is the loss.
            settings: of the tuning.
            scale: distance from the pivot at which the regularization looks (alpha in section 3.3).
        """
        self.original, self.pivots, self.settings, self.scale, self._embed = original, pivots, settings, scale, embed
        self.maps = maps
        with torch.no_grad():
            self._goals = torch.cat([embed(part) for part in targets.split(settings.batch)])
        self.G = copy.deepcopy(original)
        for block in self.G.synthesis.blocks:
            block.fold(on=False)  # type: ignore[operator]
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
        which = int(torch.randint(len(self.pivots), [1], device=self.pivots.device, generator=self._draws))
        ws = neighbor(self.pivots[which], self._draw_w(), self.scale)[None]
        noise: NoiseFit = "none" if self.settings.noise == "none" else "const"
        with torch.no_grad():
            before = self._embed(render(self.original, ws, noise, None))
        return distances(self._embed(render(self.G, ws, noise, None)), before).sum()

    def _draw_w(self) -> Tensor:
        """w [D] of a random latent and class."""
        config, device = self.original.config, self.pivots.device
        z = torch.randn(1, config.z_dim, device=device, generator=self._draws)
        if not config.classes:
            return self.original.mapping(z)[0]
        label = torch.randint(config.classes, [1], device=device, generator=self._draws)
        return self.original.mapping(z, F.one_hot(label, config.classes))[0]


def neighbor(pivot: Tensor, w: Tensor, distance: float) -> Tensor:
    """The latents at a distance from the pivot [L, D] in the direction of w [D] (section 3.3, equation of w_r).

    w_r = pivot + distance * (w - pivot) / ||w - pivot||     for each layer
    """
    return pivot + distance * F.normalize(w - pivot, dim=-1)
