"""The pictures that are judged, by number: those of a network, or those of a data set."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from imaging.dataset import ArchiveSet
from imaging.imageset import ImageSet
from imaging.loader import default_workers
from models.sampler import NumberStream, Request, Sampler

CPU = torch.device("cpu")


class JudgedSource(Protocol):
    """Pictures by number. Picture i is always the same."""

    @property
    def count(self) -> int | None:
        """Number of pictures; None if there is no end."""

    def batches(self, wanted: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """The pictures with these numbers, batch after batch: uint8 [n, C, H, W] on the device that looks at them."""


class PictureFiles:
    """The pictures of a data set, mirrored ones included, on a device."""

    def __init__(self, dataset: ImageSet, device: torch.device) -> None:
        self.dataset, self.device = dataset, device
        # Decoding releases Python's lock, so threads suffice; but shards are read from one place at a time.
        self.threads = default_workers(dataset) if isinstance(dataset, ArchiveSet) else 1

    @property
    def count(self) -> int:
        return len(self.dataset)

    def batches(self, wanted: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """Decode the next batch while the last one is looked at."""
        pool, ahead = ThreadPoolExecutor(self.threads), deque[list[Future[np.ndarray]]]()
        try:
            for indices in wanted:
                ahead.append([pool.submit(self._read, index) for index in indices])
                if len(ahead) > 1:
                    yield self._moved(ahead.popleft())
            while ahead:
                yield self._moved(ahead.popleft())
        finally:  # also if the caller stops early
            pool.shutdown(cancel_futures=True)

    def _moved(self, read: Sequence[Future[np.ndarray]]) -> Tensor:
        pixels = torch.from_numpy(np.stack([picture.result() for picture in read]))
        if self.device.type == "cuda":  # a copy from pinned memory does not block
            return pixels.pin_memory().to(self.device, non_blocking=True)
        return pixels.to(self.device)

    def _read(self, index: int) -> np.ndarray:
        return self.dataset[index][0]


class Made:
    """The pictures of a network, without end.

    All random numbers of picture i depend on the seed and on i alone, and not on the batch or the rank. Classes are as
    frequent as in the data.

    Args:
        sampler: makes the pictures.
        frequencies: number of images of each class in the data, [classes]; empty for equal frequencies.
        seed: of everything random.

    Raises:
        ValueError: if the network has other classes than the data.
    """

    count = None

    def __init__(self, sampler: Sampler, frequencies: Tensor, seed: int) -> None:
        classes = sampler.shape.classes
        if classes and not len(frequencies):
            frequencies = torch.ones(classes)
        if classes and len(frequencies) != classes:
            raise ValueError(
                f"the network has {classes} classes, but the data have {len(frequencies)}: give the data that the "
                f"network learned from"
            )
        self.sampler, self.seed = sampler, seed
        self.thresholds = frequencies.double().cumsum(0)

    def batches(self, wanted: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        for indices in wanted:
            yield torch.stack(list(self.sampler.sample(self.requests(indices), len(indices))))

    def requests(self, indices: Sequence[int], start: str = "z") -> list[Request]:
        """Requests for the pictures with these numbers; another `start` begins at other latents."""
        streams = [NumberStream(self.seed, "metrics", i, start) for i in indices]
        return [Request(str(i), self._label(stream), stream) for i, stream in zip(indices, streams, strict=True)]

    def uniform(self, indices: Sequence[int], purpose: str) -> Tensor:
        """Numbers [n] in 0..1, float64 on the CPU."""
        return torch.stack([_uniform(NumberStream(self.seed, "metrics", i), purpose) for i in indices])

    def _label(self, stream: NumberStream) -> int | None:
        classes = self.sampler.shape.classes
        if not classes:
            return None
        place = _uniform(stream, "class") * self.thresholds[-1]
        return min(int(torch.searchsorted(self.thresholds, place, right=True)), classes - 1)


def _uniform(stream: NumberStream, purpose: str) -> Tensor:
    return torch.rand([], dtype=torch.float64, generator=stream.generator(purpose, CPU))
