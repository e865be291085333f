"""Where the pictures that are judged come from: a network, or a set of pictures. Both give picture i, whoever asks."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from imaging.dataset import ArchiveSet
from imaging.imageset import ImageSet
from imaging.loader import default_workers
from imaging.pixels import to_pixels
from models.stylegan2.generator import Generator
from torch_utils import seeds


class Source(Protocol):
    """Pictures by number."""

    @property
    def count(self) -> int | None:
        """How many there are; None without end."""

    def pixels(self, indices: Sequence[int]) -> Tensor:
        """uint8 pixels [n, C, H, W] of these pictures, wherever they are next used."""


class Pictures:
    """The pictures of a set, mirrored ones included, on a device."""

    def __init__(self, dataset: ImageSet, device: torch.device) -> None:
        self.dataset, self.device = dataset, device
        # Decoding leaves Python alone, so threads suffice; but shards are read from one place at a time.
        self.threads = default_workers(dataset) if isinstance(dataset, ArchiveSet) else 0

    @property
    def count(self) -> int:
        return len(self.dataset)

    def pixels(self, indices: Sequence[int]) -> Tensor:
        if self.threads:
            with ThreadPoolExecutor(self.threads) as pool:
                read = list(pool.map(self._read, indices))
        else:
            read = [self._read(index) for index in indices]
        return torch.from_numpy(np.stack(read)).to(self.device)

    def _read(self, index: int) -> np.ndarray:
        return self.dataset[index][0]


class Samples:
    """What a generator makes with full variety (psi 1) and noise that is new for each sample.

    Latents, class and noise of sample i depend on the seed and on i alone, and so on no batch and no process. Classes
    are as frequent as in the data.

    Args:
        G: the generator, on its device.
        frequencies: how often each class occurs, [classes].
        seed: of everything random.

    Raises:
        ValueError: when the frequencies are not of the network's classes.
    """

    count = None

    def __init__(self, G: Generator, frequencies: Tensor, seed: int) -> None:
        classes = G.config.classes
        if classes and not len(frequencies):
            frequencies = torch.ones(classes)
        if len(frequencies) < classes or (classes and len(frequencies) > classes):
            raise ValueError(
                f"the network has {classes} classes, and the data have {len(frequencies)}: give the data it learnt from"
            )
        self.G, self.seed = G, seed
        self.thresholds = frequencies.double().cumsum(0)

    @property
    def device(self) -> torch.device:
        return self.G.mapping.w_average.device

    @torch.no_grad()
    def pixels(self, indices: Sequence[int]) -> Tensor:
        ws = self.map(self.latents(indices, "z"), indices)
        return to_pixels(self.render(ws, indices))

    def latents(self, indices: Sequence[int], purpose: str) -> Tensor:
        """Standard normal z [n, D]."""
        drawn = [torch.randn(self.G.config.z_dim, generator=self._stream("cpu", purpose, i)) for i in indices]
        return torch.stack(drawn).to(self.device)

    def uniform(self, indices: Sequence[int], purpose: str) -> Tensor:
        """Numbers [n] in 0..1."""
        drawn = [torch.rand([], dtype=torch.float64, generator=self._stream("cpu", purpose, i)) for i in indices]
        return torch.stack(drawn)

    def map(self, z: Tensor, indices: Sequence[int]) -> Tensor:
        """w for every layer [n, L, D]."""
        c = None
        if self.G.config.classes:
            place = self.uniform(indices, "class") * self.thresholds[-1]
            labels = torch.searchsorted(self.thresholds, place, right=True).clamp(max=self.G.config.classes - 1)
            c = F.one_hot(labels, self.G.config.classes).float().to(self.device)
        return self.G.ws(z, c)

    def render(self, ws: Tensor, indices: Sequence[int]) -> Tensor:
        """Images [n, C, H, W]; those of equal indices have equal noise."""
        each = [self.G.synthesis.noises(1, "random", self._stream(self.device, "noise", i)) for i in indices]
        noises: list[Tensor | None] = [
            torch.cat([noise for noise in layer if noise is not None]) for layer in zip(*each, strict=True)
        ]
        return self.G.synthesis.render(ws.float().contiguous(), noises)

    def _stream(self, device: torch.device | str, purpose: str, index: int) -> torch.Generator:
        return seeds.generator(device, self.seed, "metrics", purpose, index)
