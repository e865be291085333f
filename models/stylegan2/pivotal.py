"""Pivotal tuning: the network bent a little, so that it shows a picture that it could not (Roich et al. 2021).

The latents of a projection, the pivots, stay as they are; the weights of the synthesis are trained until the pivots'
images are the targets. What the network makes of other latents changes little, and locality regularisation keeps it
closer still. Letters: N targets, L number of w, D width of w.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.perceptual.likeness import Embed
from models.stylegan2.generator import Generator
from models.stylegan2.projector import NoiseFit, distances, render
from torch_utils.seeds import generator


@dataclass(frozen=True)
class TuningSettings:
    """How a network is tuned.

    steps: of the optimisation.
    rate: of Adam, the paper's.
    locality: weight of the locality regularisation; 0 does without, section 3.3 takes 0.1.
    noise: of the layers, as the projection had it.
    batch: targets that are computed at once; the gradients of more are added up.
    seed: of the latents that the regularisation looks at.
    """

    steps: int = 350
    rate: float = 3e-4
    locality: float = 0.0
    noise: NoiseFit = "fit"
    batch: int = 8
    seed: int = 0


class Tuning:
    """The training of a copy of the network, `G`, on pivots and their targets, `step` by `step`.

    `losses` [N] are those before the last step.
    """

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
        """Nothing is trained yet.

        Args:
            original: the network, which stays as it is.
            pivots: w [N, L, D] of the targets.
            maps: fitted noise [N, 1, H, W] of each layer, where the projection fitted it.
            targets: images [N, C, H, W] in [-1, 1].
            embed: gives the vectors of targets and images that shall come together.
            settings: how.
            scale: of w: how far from the pivot the regularisation looks (alpha in section 3.3).
        """
        self.original, self.pivots, self.settings, self.scale, self._embed = original, pivots, settings, scale, embed
        self.maps = maps
        with torch.no_grad():
            self._goals = torch.cat([embed(part) for part in targets.split(settings.batch)])
        self.G = copy.deepcopy(original)
        for block in self.G.synthesis.blocks:
            block.unfold()  # type: ignore[operator]
        self._optimizer = torch.optim.Adam(self.G.synthesis.requires_grad_().parameters(), lr=settings.rate)
        self.losses = pivots.new_zeros(len(pivots))
        self._draws = generator(pivots.device, settings.seed, "locality")

    def step(self) -> Tensor:
        """Takes a step; returns the losses [N] before it."""
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
        """The tuned network, which asks for no gradients any more."""
        return self.G.requires_grad_(False).eval()

    def _locality(self) -> Tensor:
        """How far the network has gone from the original at a place near one of the pivots (section 3.3, L_R)."""
        which = int(torch.randint(len(self.pivots), [1], device=self.pivots.device, generator=self._draws))
        ws = neighbour(self.pivots[which], self._draw_w(), self.scale)[None]
        noise: NoiseFit = "none" if self.settings.noise == "none" else "const"
        with torch.no_grad():
            before = self._embed(render(self.original, ws, noise, None))
        return distances(self._embed(render(self.G, ws, noise, None)), before).sum()

    def _draw_w(self) -> Tensor:
        """w [D] of a latent, and of a class where there are some, drawn at random."""
        config, device = self.original.config, self.pivots.device
        z = torch.randn(1, config.z_dim, device=device, generator=self._draws)
        if not config.classes:
            return self.original.mapping(z)[0]
        label = torch.randint(config.classes, [1], device=device, generator=self._draws)
        return self.original.mapping(z, F.one_hot(label, config.classes))[0]


def neighbour(pivot: Tensor, w: Tensor, distance: float) -> Tensor:
    """The latents at a distance from the pivot [L, D] in the direction of w [D] (section 3.3, equation of w_r).

    w_r = pivot + distance * (w - pivot) / ||w - pivot||     for each layer
    """
    return pivot + distance * F.normalize(w - pivot, dim=-1)
