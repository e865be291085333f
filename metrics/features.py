"""From pictures to features: pictures by number, of a network or a data set, and the detectors that look at them.

A detector is a pretrained network from its file; the patches of the sliced Wasserstein distance need none.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imaging.dataset import ArchiveSet
from imaging.imageset import ImageSet
from imaging.loader import default_workers
from imaging.pixels import to_images
from metrics.sliced_wasserstein import descriptors
from models.perceptual.detectors import check_trust, find_networks, has_lpips, open_network
from models.perceptual.embeddings import to_rgb
from models.sampler import NumberStream, Request, Sampler
from torch_utils import distributed
from torch_utils.cli import progress
from torch_utils.download import sha256

FILES_OF: dict[str, tuple[str, ...]] = {
    "inception": ("inception",),
    "inception classes": ("inception",),
    "vgg16": ("vgg16",),
    "lpips": ("vgg16", "lpips"),
    "dinov2": ("dinov2",),
    "patches": (),
}


class PictureFiles:
    """The pictures of a data set, mirrored ones included, by number, on a device."""

    def __init__(self, dataset: ImageSet, device: torch.device) -> None:
        self.dataset, self.device, self.count = dataset, device, len(dataset)
        # Decoding releases Python's lock, so threads suffice; but shards are read from one place at a time.
        self.threads = default_workers(dataset) if isinstance(dataset, ArchiveSet) else 1

    def batches(self, wanted: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """The pictures with these numbers, batch after batch: uint8 [n, C, H, W]. The next batch is decoded ahead."""
        pool, before = ThreadPoolExecutor(self.threads), list[Future[Any]]()
        try:
            for indices in [*wanted, []]:
                reading = [pool.submit(self.dataset.picture, index) for index in indices]
                if before:
                    pixels = torch.from_numpy(np.stack([read.result() for read in before]))
                    pixels = pixels.pin_memory() if self.device.type == "cuda" else pixels  # copied without blocking
                    yield pixels.to(self.device, non_blocking=True)
                before = reading
        finally:  # also if the caller stops early
            pool.shutdown(cancel_futures=True)


class Made:
    """The pictures of a network by number, without end.

    All random numbers of picture i depend on the seed and on i alone, and not on the batch or the rank. Classes are as
    frequent as in the data: `frequencies` [classes], empty for equal ones. Raises ValueError for another number.
    """

    count = None

    def __init__(self, sampler: Sampler, frequencies: Any, seed: int) -> None:
        self.sampler, self.seed, classes = sampler, seed, sampler.shape.classes
        if classes and len(frequencies) not in (0, classes):
            raise ValueError(
                f"the network has {classes} classes, but the data have {len(frequencies)}: give the data that the "
                f"network learned from"
            )
        counts = torch.as_tensor(frequencies) if len(frequencies) else torch.ones(classes)
        self.thresholds = counts.double().cumsum(0)

    def batches(self, wanted: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        for indices in wanted:
            yield torch.stack(list(self.sampler.sample(self.requests(indices), len(indices))))

    def requests(self, indices: Sequence[int], start: str = "z") -> list[Request]:
        """Requests for the pictures with these numbers; another `start` begins at other latents."""
        labels = zip(indices, self._labels(indices), strict=True)
        return [Request(str(i), label, NumberStream(self.seed, "metrics", i, start)) for i, label in labels]

    def uniform(self, indices: Sequence[int], purpose: str) -> Tensor:
        """Numbers [n] in 0..1, float64 on the torch.device("cpu")."""
        draws = [NumberStream(self.seed, "metrics", i).generator(purpose, torch.device("cpu")) for i in indices]
        return torch.stack([torch.rand([], dtype=torch.float64, generator=draw) for draw in draws])

    def _labels(self, indices: Sequence[int]) -> Sequence[int | None]:
        if not self.sampler.shape.classes:
            return [None] * len(indices)
        places = self.uniform(indices, "class") * self.thresholds[-1]
        return torch.searchsorted(self.thresholds, places, right=True).clamp(max=len(self.thresholds) - 1).tolist()


@dataclass(frozen=True)
class Eye:
    """What looks at pictures.

    It is called with uint8 pixels [n, C, H, W] (LPIPS also with float RGB in 0..255) and their numbers, and returns
    [n, ...]. Two eyes with the same `identity` give the same features. Features of an eye without identity are not
    cached on disk.
    """

    name: str
    identity: str
    look: Callable[[Tensor, Sequence[int]], Tensor]

    def __call__(self, pixels: Tensor, indices: Sequence[int] = ()) -> Tensor:
        return self.look(pixels, indices)


def open_eyes(names: Iterable[str], given: Mapping[str, str], device: torch.device, trust: bool) -> dict[str, Eye]:
    """These eyes by name, on a device, with their files as `find_files` finds them."""
    names = list(dict.fromkeys(names))
    files = find_files(names, given, trust)
    return {name: open_eye(name, files, device) for name in names}


def find_files(eyes: Sequence[str], given: Mapping[str, str], trust: bool = False) -> dict[str, Path]:
    """The files that these eyes need, by name of the detector, downloaded on first use.

    `given` are files or URLs of detectors, as `parse_files` returns them; they may be programs if `trust`. Raises
    FileNotFoundError or ValueError if a file is missing and cannot be downloaded, or no eye needs a given one.
    """
    check_trust(trust, given)
    wanted = list(dict.fromkeys(name for eye in eyes for name in FILES_OF[eye]))
    if "lpips" in wanted and has_lpips(given):
        wanted.remove("lpips")
    for name in given:
        if name not in wanted:
            raise ValueError(f"--detector {name}: none of the metrics asks for it; leave it out")
    return find_networks(wanted, given, "or take a metric that needs none, such as swd", trust)


def open_eye(name: str, files: Mapping[str, Path], device: torch.device) -> Eye:
    """One eye on its device. Raises FileNotFoundError or ValueError if a file is not the network it should be."""
    if name == "patches":
        return Eye(name, "", lambda pixels, indices: descriptors(to_images(pixels), indices))
    paths = [files[part] for part in FILES_OF[name] if part in files]
    see = open_network(name, paths, device)
    identity = f"{name} " + " ".join(map(sha256, paths))
    return Eye(name, identity, lambda pixels, indices: see(to_rgb(pixels)).float())


Judged = PictureFiles | Made
Batches = Callable[[Sequence[Sequence[int]]], Iterator[Tensor]]  # such as `PictureFiles.batches`


def look(
    batches: Batches, eyes: Sequence[Eye], indices: Sequence[int], batch: int, label: str
) -> Iterator[list[Tensor]]:
    """The features that each eye sees in the pictures with these numbers, in order: [n, ...] on the CPU.

    Each process looks at its share of a round, `batch` pictures, and gets the features of all. Every process must
    iterate to the end. `label` stands before the progress bar.
    """
    each = distributed.world() * batch
    starts = range(0, len(indices), each)
    firsts = [start + distributed.rank() * batch for start in starts]
    shares = [indices[first : first + batch] for first in firsts]
    looked_at = [mine or indices[:1] for mine in shares]  # a process without a share needs the shape of the features
    shown = progress(starts, len(starts), label) if distributed.is_first() else starts
    for start, mine, looked, pixels in zip(shown, shares, looked_at, batches(looked_at), strict=True):
        with torch.no_grad():
            seen = [eye(pixels, looked)[: len(mine)] for eye in eyes]
        yield [_gathered(features, batch, min(each, len(indices) - start)) for features in seen]


def _gathered(features: Tensor, batch: int, count: int) -> Tensor:
    """The features of all processes in order, [count, ...]; only the last processes may have fewer than `batch`."""
    everyone = features.new_zeros(distributed.world(), batch, *features.shape[1:])
    everyone[distributed.rank(), : len(features)] = features
    return distributed.sum_(everyone).flatten(0, 1)[:count].cpu()
