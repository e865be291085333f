"""What is known of the real images, kept on the disk for the next time: looking at a whole data set takes long."""

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from imaging.imageset import ImageSet
from metrics.detectors import Eye
from metrics.features import look
from metrics.frechet import Gaussian, Sums
from metrics.sharing import statistics_device
from metrics.sources import Pictures
from system.cache import cache_folder
from torch_utils import checkpoint, distributed

Distance = Callable[[Tensor | None, Tensor | None, torch.device], float]

VERSION = 2  # changes when the same images would give other statistics


@dataclass
class Known:
    """Statistics of one eye on some of the real images; those that were asked for, on the first process."""

    gaussian: Gaussian | None = None
    features: Tensor | None = None


class Reals:
    """A data set as its images are judged against.

    Args:
        dataset: whole, mirrored if that is how it is learned from.
        device: where eyes look.
        batch: images that a process looks at at once.
    """

    def __init__(self, dataset: ImageSet, device: torch.device, batch: int) -> None:
        self.dataset, self.batch = dataset, batch
        self.pictures = Pictures(dataset, device)
        self._kept: dict[tuple[Eye, int], Known] = {}  # what is not kept on the disk

    def count(self, most: int | None) -> int:
        """How many of the images count when at most so many shall; None is all."""
        return len(self.dataset) if most is None else min(most, len(self.dataset))

    def known(self, eye: Eye, most: int | None, kinds: Collection[str]) -> Known:
        """What the eye sees of at most so many images, drawn at random but always the same ones.

        They are the first images of the set's own shuffle; with shards, that order opens as few shards as possible.
        Every process must ask for it. `kinds` are those wanted of `gaussian` and `features`.
        """
        count, first = self.count(most), distributed.is_first()
        path = cache_folder() / "statistics" / f"{self._key(eye, count)}.safetensors"
        known = self._kept.get((eye, count)) or Known()
        missing = [kind for kind in sorted(kinds) if first and getattr(known, kind) is None]
        if eye.identity:
            missing = [kind for kind in missing if not _read(path, kind, known)]
        if distributed.least(int(not missing)):
            return known
        sums, parts = Sums(), []
        whole = count == len(self.dataset)
        indices = range(count) if whole else sorted(self.dataset.index_at(0, place) for place in range(count))
        for (seen,) in look(self.pictures, [eye], indices, self.batch, f"{eye.name}, real images"):
            if "gaussian" in missing:
                sums.add(seen.to(statistics_device(self.pictures.device)))
            if "features" in missing:
                parts.append(seen)
        if "gaussian" in missing:
            known.gaussian = sums.gaussian()
        if "features" in missing:
            known.features = torch.cat(parts)
        if eye.identity:
            _write(path, missing, known)
        else:
            self._kept[eye, count] = known
        return known

    def between_halves(self, eye: Eye, count: int, distance: Distance) -> float | None:
        """A distance between two sets of the real images without one in common, kept on the disk.

        Every process must ask for it, and the first one gets the number.

        Args:
            eye: what looks at the images.
            count: images in each set; half of all where there are too few.
            distance: of what the eye sees of both sets on the first process.

        Returns:
            The distance, or None for fewer than four images.
        """
        count = min(count, len(self.dataset) // 2)
        if count < 2:
            return None
        path = cache_folder() / "statistics" / f"{self._key(eye, count, 'halves')}.safetensors"
        found = _read_number(path) if distributed.is_first() else None
        if distributed.least(int(found is not None or not distributed.is_first())):
            return found
        seen: list[Tensor | None] = []
        for half in range(2):
            indices = sorted(self.dataset.index_at(0, place) for place in range(half * count, (half + 1) * count))
            parts = [part for (part,) in look(self.pictures, [eye], indices, self.batch, f"{eye.name}, real images")]
            seen.append(torch.cat(parts) if distributed.is_first() else None)
        found = distance(seen[0], seen[1], statistics_device(self.pictures.device))
        if not distributed.is_first():
            return None
        checkpoint.save(path, {"distance": torch.tensor(found, dtype=torch.float64)}, {})
        return found

    def _key(self, eye: Eye, count: int, *more: str) -> str:
        facts = [VERSION, self.dataset.fingerprint, eye.name, eye.identity, count, *more]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _read_number(path: Path) -> float | None:
    try:
        return float(checkpoint.load(path)[0]["distance"]) if path.is_file() else None
    except (ValueError, KeyError, RuntimeError):  # damaged, or another file
        return None


def _read(path: Path, kind: str, known: Known) -> bool:
    """Takes one kind of statistics from the disk; False when it is not there, or damaged."""
    place = _place(path, kind)
    if not place.is_file():
        return False
    try:
        tensors, _ = checkpoint.load(place)
    except ValueError:
        return False
    if kind == "gaussian":
        known.gaussian = Gaussian(tensors["mean"], tensors["covariance"])
    else:
        known.features = tensors["features"]
    return True


def _write(path: Path, kinds: Collection[str], known: Known) -> None:
    if "gaussian" in kinds and known.gaussian is not None:
        tensors = {"mean": known.gaussian.mean, "covariance": known.gaussian.covariance}
        checkpoint.save(_place(path, "gaussian"), tensors, {})
    if "features" in kinds and known.features is not None:
        checkpoint.save(_place(path, "features"), {"features": known.features}, {})


def _place(path: Path, kind: str) -> Path:
    return path.with_name(f"{path.stem}-{kind}{path.suffix}")
