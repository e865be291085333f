"""The search for the latents of N targets [C, H, W], batch by batch, and its film and sheet."""

import time
from collections.abc import Iterable, Iterator, Sequence
from math import ceil, isfinite, isinf, sqrt
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from imaging.grid import sheet, tile
from imaging.pixels import psnr, to_images, to_pil, to_pixels
from models.perceptual.embeddings import Embed
from models.stylegan2.generator import Generator
from models.stylegan2.latents import Latents
from models.stylegan2.projector import Projection, ProjectionSettings, class_means, nearest_mean
from sampling.stylegan2.targets import Target
from torch_utils.cli import counted

FRAMES = 120  # of the film, at most
SHOWN, SIDE = 16, 256  # targets on the film at most, and the longest side of each


class Search:
    """The projection of all targets, `batch` at a time. Iterating over it computes it, step by step.

    `classes` are those that the targets start from, None for the mean of all w; `loss` is the mean of the last step.
    """

    def __init__(
        self, G: Generator, targets: Tensor, embed: Embed, settings: ProjectionSettings, batch: int, label: int | None
    ) -> None:
        """Args: targets are images [N, C, H, W] in [-1, 1]; `label` is the first class, None for the nearest."""
        self.settings, self.loss = settings, 0.0
        self._G, self._embed = G, embed
        means, self.scale = class_means(G, settings.seed, label)
        self._targets = targets.split(batch)
        self.batches = len(self._targets)
        starts = torch.cat([nearest_mean(G, means, part, embed) for part in self._targets])  # [N]
        by_class = len(means) == G.config.classes
        self.classes = [int(start) if by_class else label for start in starts]
        self._starts = means[starts].split(batch)
        self._losses: list[Tensor] = []
        self._latents: list[Latents] = []

    def __len__(self) -> int:
        return self.batches * self.settings.steps

    def seconds_per_step(self) -> float:
        """The duration of a step of the first batch, measured on latents that are discarded."""
        trial = self._begin(0)
        trial.step()  # the first is slower
        start = time.perf_counter()
        float(trial.step().sum())  # waits for a GPU
        return time.perf_counter() - start

    def __iter__(self) -> Iterator[tuple[int, int, Tensor]]:
        """After each step: its number, the number of the first target in work, and images [n, C, H, W]."""
        first = 0
        for number in range(self.batches):
            part = self._begin(number)
            for step in range(self.settings.steps):
                self.loss = float(part.step().mean())
                if not isfinite(self.loss):
                    raise ValueError(f"the loss is no number any more at step {step + 1}: take a smaller --rate")
                yield step, first, part.images
            first += len(part.images)
            self._losses.append(part.losses)
            self._latents.append(Latents(part.ws, part.maps and [noise.detach() for noise in part.maps]))

    def _begin(self, number: int) -> Projection:
        """The optimization of one batch, from its start."""
        targets, starts = self._targets[number], self._starts[number]
        return Projection(self._G, targets, self._embed, self.settings, starts, self.scale)

    @property
    def losses(self) -> Tensor:
        """The loss [N] of each target at its last step."""
        return torch.cat(self._losses)

    @property
    def latents(self) -> Latents:
        """The latents of all targets."""
        layers = list(zip(*(part.maps or [] for part in self._latents), strict=True))
        return Latents(torch.cat([part.ws for part in self._latents]), [torch.cat(maps) for maps in layers] or None)


def spoken(seconds: float) -> str:
    """A duration as one round number: `40 minutes`."""
    for name, size, next_size in (("second", 1, 90), ("minute", 60, 90 * 60), ("hour", 3600, 36 * 3600)):
        if seconds < next_size:
            return counted(max(round(seconds / size), 1), name)
    return counted(round(seconds / 86400), "day")


class SearchFilm:
    """A film of an optimization, from small pictures of its steps: each target beside its projection."""

    def __init__(self, targets: Tensor, steps: int) -> None:
        """Args: targets are pixels uint8 [N, C, H, W]; steps is the number of all steps."""
        self._targets = _small(targets[:SHOWN])
        count = min(steps, FRAMES)
        self._kept = {(k + 1) * steps // count - 1: k for k in range(count)}  # step -> frame; the last is always there
        self._seen = torch.zeros(count, *self._targets.shape, dtype=torch.uint8)

    def add(self, step: int, first: int, images: Tensor) -> None:
        """Add images [n, C, H, W] in [-1, 1] of a step, of the targets from `first` on."""
        frame, room = self._kept.get(step), len(self._targets) - first
        if frame is not None and room > 0:
            small = _small(to_pixels(images[:room]))
            self._seen[frame, first : first + len(small)] = small

    def frames(self) -> Iterator[Image.Image]:
        """The frames, one after another."""
        count, _, height, width = self._targets.shape
        pairs_in_row = min(ceil(sqrt(count * height / (2 * width))), count)  # about as wide as high
        for seen in self._seen:
            yield tile(torch.stack([self._targets, seen], dim=1).flatten(0, 1), 2 * pairs_in_row)


def _small(pixels: Tensor) -> Tensor:
    """Pixels [N, C, H, W], reduced to sides of at most `SIDE`, on the CPU."""
    factor = ceil(max(pixels.shape[2:]) / SIDE)
    return (to_pixels(F.avg_pool2d(to_images(pixels), factor), "nearest") if factor > 1 else pixels).cpu()


class Projected:
    """The result of one method for all targets: its name, losses [N], pixels uint8 [N, C, H, W] and PSNR [N]."""

    def __init__(self, name: str, losses: Tensor, pictures: Iterable[Tensor], targets: Tensor) -> None:
        """Args: pictures and targets are pixels uint8, one [C, H, W] for each target."""
        self.name, self.losses = name, losses
        self.pixels = torch.stack([pixels.cpu() for pixels in pictures])
        self.psnr = psnr(self.pixels, targets)


def compare(targets: Tensor, made: Sequence[Projected]) -> Image.Image:
    """A sheet with a row for each target uint8 [N, C, H, W] and its results."""
    columns = [targets, *(result.pixels for result in made)]
    rows = [[to_pil(pixels) for pixels in row] for row in zip(*columns, strict=True)]
    labels = [" / ".join(f"{result.psnr[n]:.1f}" for result in made) + " dB" for n in range(len(targets))]
    return sheet(rows, labels, ["target", *(result.name for result in made)])


def facts(targets: Sequence[Target], classes: Sequence[int | None], made: Sequence[Projected]) -> list[dict[str, Any]]:
    """Facts of each target for the record: name, changes, start, losses, PSNR in dB (None if pictures are equal)."""
    found: list[dict[str, Any]] = []
    for n, target in enumerate(targets):
        found.append({"target": target.name, "changes": list(target.changes), "class": classes[n]})
        for result in made:
            value = float(result.psnr[n])
            found[-1][f"{result.name}_loss"] = float(result.losses[n])
            found[-1][f"{result.name}_psnr"] = None if isinf(value) else round(value, 2)
    return found
