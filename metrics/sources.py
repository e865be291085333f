"""Where the pictures that are judged come from: a network, or a set of pictures. Both give picture i, whoever asks."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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

    def batches(self, wanted: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """uint8 pixels [n, C, H, W] of pictures with these numbers, batch after batch, on the device of their use."""


class Pictures:
    """The pictures of a set, mirrored ones included, on a device."""

    def __init__(self, dataset: ImageSet, device: torch.device) -> None:
        self.dataset, self.device = dataset, device
        # Decoding leaves Python alone, so threads suffice; but shards are read from one place at a time.
        self.threads = default_workers(dataset) if isinstance(dataset, ArchiveSet) else 1

    @property
    def count(self) -> int:
        return len(self.dataset)

    def batches(self, wanted: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """While one batch is looked at, the next one is decoded."""
        pool, ahead = ThreadPoolExecutor(self.threads), deque[list[Future[np.ndarray]]]()
        try:
            for indices in wanted:
                ahead.append([pool.submit(self._read, index) for index in indices])
                if len(ahead) > 1:
                    yield self._moved(ahead.popleft())
            while ahead:
                yield self._moved(ahead.popleft())
        finally:  # also where nobody asks for the rest
            pool.shutdown(cancel_futures=True)

    def _moved(self, read: Sequence[Future[np.ndarray]]) -> Tensor:
        pixels = torch.from_numpy(np.stack([picture.result() for picture in read]))
        if self.device.type == "cuda":  # from pinned memory the copy waits for nothing
            return pixels.pin_memory().to(self.device, non_blocking=True)
        return pixels.to(self.device)

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
                f"the network has {classes} classes, and the data have {len(frequencies)}: "
                f"give the data it learned from"
            )
        self.G, self.seed = G, seed
        self.thresholds = frequencies.double().cumsum(0)

    @property
    def device(self) -> torch.device:
        return self.G.mapping.w_average.device

    def batches(self, wanted: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        return map(self.pixels, wanted)

    @torch.no_grad()
    def pixels(self, indices: Sequence[int]) -> Tensor:
        """uint8 pixels [n, C, H, W] of the samples with these numbers."""
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
        return self.G.synthesis.render(ws.float().contiguous(), self._noises(indices))

    def _noises(self, indices: Sequence[int]) -> list[Tensor | None]:
        """The noise of each layer [n, 1, H, W], of every sample from a stream of its own.

        A GPU draws that of all layers at once. A CPU draws layer by layer, on which its numbers have always depended.
        """
        streams = [self._stream(self.device, "noise", i) for i in indices]
        if self.device.type == "cuda" and isinstance(self.G, Generator):
            size = self.G.synthesis.noise_size
            drawn = [torch.randn(size, device=self.device, generator=stream) for stream in streams]
            return self.G.synthesis.parted_noise(torch.stack(drawn))
        each = [self.G.synthesis.noises(1, "random", stream) for stream in streams]
        return [torch.cat([noise for noise in layer if noise is not None]) for layer in zip(*each, strict=True)]

    def _stream(self, device: torch.device | str, purpose: str, index: int) -> torch.Generator:
        return seeds.generator(device, self.seed, "metrics", purpose, index)
