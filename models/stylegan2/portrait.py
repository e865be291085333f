"""The projection of one picture, step by step, as the explorer shows it: `project.py` without its files."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from imaging.pixels import psnr, to_images, to_pixels
from models.perceptual.embeddings import pyramid_vectors
from models.stylegan2.generator import Generator
from models.stylegan2.latents import save_ws
from models.stylegan2.projector import (
    Projection,
    ProjectionSettings,
    Space,
    Tuning,
    TuningSettings,
    class_means,
    nearest_mean,
    render,
)


class Portrait:
    """The search for the latents that show pixels uint8 [C, H, W]; they begin at the nearest class's mean."""

    def __init__(self, G: Generator, pixels: Tensor, space: Space, steps: int) -> None:
        self.G, self.pixels, self.settings = G, pixels, ProjectionSettings(space=space, steps=steps)
        targets = self._targets = to_images(pixels[None]).to(G.mapping.w_average.device)
        means, scale = class_means(G, self.settings.seed)
        start = means[nearest_mean(G, means, targets, pyramid_vectors)]
        self._projection = Projection(G, targets, pyramid_vectors, self.settings, start, scale)

    def __iter__(self) -> Iterator[float]:
        """Take the steps; yields the share that is done after each."""
        for step in range(self.settings.steps):
            self._projection.step()
            yield (step + 1) / self.settings.steps

    def tune(self, steps: int) -> Iterator[float]:
        """Pivotal tuning (Roich et al. 2021); yields the share that is done after each step."""
        search, maps = self._projection, self._projection.maps
        fitted = None if maps is None else [noise.detach() for noise in maps]
        settings = TuningSettings(steps=steps, noise=self.settings.noise)
        tuning = Tuning(self.G, search.ws, fitted, self._targets, pyramid_vectors, settings, search.scale)
        for step in range(steps):
            tuning.step()
            yield (step + 1) / steps
        self.G = tuning.finish().fold()

    def network(self) -> Generator:
        """The network; after `tune` the copy that was tuned."""
        return self.G

    @torch.no_grad()
    def picture(self) -> Tensor:
        """The picture of the latents so far, uint8 [C, H, W]."""
        image = render(self.G, self._projection.ws, self.settings.noise, self._projection.maps)
        return to_pixels(image, rounding="truncate")[0].cpu()

    def likeness(self, picture: Tensor) -> float:
        """The PSNR of a picture, in dB."""
        return float(psnr(picture[None], self.pixels[None]))

    def save(self, path: Path) -> None:
        """Write the latents, with the noise that was fitted, for --latents."""
        save_ws(path, self._projection.ws, self._projection.maps)
