"""Every random number of a training step, a function of (seed, iteration, phase, purpose) and nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torch_utils import seeds


@dataclass(frozen=True)
class Draws:
    """The draws for samples start ... stop - 1 of a batch: those of one process in one round.

    Results do not depend on the number of processes and rounds: `latents`, `uniforms` and `classes` are drawn for the
    whole batch and sliced, `normal` has a stream per sample. Only `pictures` are drawn for the slice.
    """

    seed: int
    iteration: int
    phase: str
    batch: int
    start: int
    stop: int
    device: torch.device

    def latents(self, purpose: str, *shape: int) -> Tensor:
        """Standard normal numbers [stop - start, *shape]."""
        return self._sliced(torch.randn, purpose, *shape)

    def uniforms(self, purpose: str, *shape: int) -> Tensor:
        """Numbers in [0, 1), [stop - start, *shape]."""
        return self._sliced(torch.rand, purpose, *shape)

    def classes(self, purpose: str, thresholds: Tensor) -> Tensor:
        """Class numbers [stop - start]. `thresholds` are cumulative frequencies, float32 [classes]."""
        u = self._sliced(torch.rand, purpose).float() * thresholds[-1]
        return torch.searchsorted(thresholds, u, right=True).clamp(max=len(thresholds) - 1)

    def uniform(self, purpose: str) -> float:
        """One number in [0, 1) for the whole batch, on the host."""
        return seeds.derive(self.seed, self.iteration, self.phase, purpose) / 2**63

    def normal(self, purpose: str, shape: torch.Size) -> Tensor:
        """Standard normal numbers [N, ...] for the first N samples of this part, without memory for the whole batch."""
        generators = [self._generator(purpose, self.start + i) for i in range(shape[0])]
        return torch.stack([torch.randn(shape[1:], device=self.device, generator=each) for each in generators])

    def pictures(self, purpose: str, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
        """Standard normal numbers of several shapes, from one generator for this part: the noise inputs of layers."""
        generator = self._generator(purpose, self.start)
        return [torch.randn(*shape, device=self.device, generator=generator) for shape in shapes]

    def crossover(self, layers: int, probability: float) -> int | Tensor:
        """How many of the first layers keep their own style: all, or with `probability` 1 to `layers` - 1.

        One crossover point for the whole batch (Karras et al. 2019, section 3.1).
        """
        if self.uniform("mix") >= probability:
            return layers
        return 1 + int(self.uniform("crossover") * (layers - 1))

    def _sliced(self, draw: Callable[..., Tensor], purpose: str, *shape: int) -> Tensor:
        whole = draw(self.batch, *shape, device=self.device, generator=self._generator(purpose))
        return whole[self.start : self.stop]

    def _generator(self, purpose: str, *more: int) -> torch.Generator:
        return seeds.generator(self.device, self.seed, self.iteration, self.phase, purpose, *more)
