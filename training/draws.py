"""Every random number of a training step, a function of (seed, iteration, phase, purpose) and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torch_utils import seeds


@dataclass(frozen=True)
class Draws:
    """The draws for one part of a batch: the samples start ... stop - 1 of it, on one process and in one round.

    Every process draws latents and classes for the whole batch and keeps its part, and noise is drawn sample by sample,
    so results do not depend on the number of processes and rounds. Only `pictures`, the noise inputs of layers, are
    drawn for the part.
    """

    seed: int
    iteration: int
    phase: str
    batch: int
    start: int
    stop: int
    device: torch.device

    def latents(self, purpose: str, dim: int) -> Tensor:
        """Standard normal latents [stop - start, dim]."""
        whole = torch.randn(self.batch, dim, device=self.device, generator=self._generator(purpose))
        return whole[self.start : self.stop]

    def uniforms(self, purpose: str, dim: int) -> Tensor:
        """Numbers in [0, 1), [stop - start, dim]."""
        whole = torch.rand(self.batch, dim, device=self.device, generator=self._generator(purpose))
        return whole[self.start : self.stop]

    def classes(self, purpose: str, thresholds: Tensor) -> Tensor:
        """Class numbers [stop - start], drawn with frequencies whose running sums are given, float32 [classes]."""
        u = torch.rand(self.batch, device=self.device, generator=self._generator(purpose), dtype=torch.float32)
        whole = torch.searchsorted(thresholds, u * thresholds[-1], right=True)
        return whole[self.start : self.stop].clamp(max=len(thresholds) - 1)

    def uniform(self, purpose: str) -> float:
        """One number in [0, 1) for the whole batch, on the host."""
        return seeds.derive(self.seed, self.iteration, self.phase, purpose) / 2**63

    def normal(self, purpose: str, shape: torch.Size) -> Tensor:
        """Standard normal numbers [N, ...], a stream for each of the first N samples of this part."""
        samples = range(self.start, self.start + shape[0])
        return torch.stack(
            [torch.randn(shape[1:], device=self.device, generator=self._generator(purpose, i)) for i in samples]
        )

    def pictures(self, purpose: str, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
        """Standard normal numbers of several shapes, one after the other from a stream that this part alone has."""
        generator = self._generator(purpose, self.start)
        return [torch.randn(*shape, device=self.device, generator=generator) for shape in shapes]

    def crossover(self, layers: int, probability: float) -> int | Tensor:
        """How many of the first layers keep their own style: all `layers`, or with `probability` 1 to `layers` - 1.

        One crossover point for the whole batch (Karras et al. 2019, section 3.1).
        """
        if self.uniform("mix") >= probability:
            return layers
        return 1 + int(self.uniform("crossover") * (layers - 1))

    def _generator(self, purpose: str, *more: int) -> torch.Generator:
        return seeds.generator(self.device, self.seed, self.iteration, self.phase, purpose, *more)
