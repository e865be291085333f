"""Statistics of the real images, cached on disk, because looking at a whole data set takes long."""

import hashlib
import json
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from imaging.imageset import ImageSet
from metrics.detectors import Eye
from metrics.features import look
from metrics.frechet import Gaussian, Sums
from metrics.sharing import statistics_device
from metrics.sources import PictureFiles
from system.resources import cache_folder
from torch_utils import checkpoint, distributed

Distance = Callable[[Tensor | None, Tensor | None, torch.device], float]
Tensors = dict[str, Tensor]

VERSION = 2  # changes when the same images would give other statistics


class Known:
    """Statistics of some of the real images: `gaussian` and `features`, where asked for, on rank 0 only."""

    def __init__(self, gaussian: Tensors | None = None, features: Tensors | None = None) -> None:
        self.gaussian = None if gaussian is None else Gaussian(**gaussian)
        self.features = None if features is None else features["features"]


class RealStatistics:
    """A data set as the reference that pictures are judged against.

    Args:
        dataset: whole, mirrored if training mirrors it.
        device: where eyes look.
        batch: images that a process looks at together.
    """

    def __init__(self, dataset: ImageSet, device: torch.device, batch: int) -> None:
        self.dataset, self.batch = dataset, batch
        self.pictures = PictureFiles(dataset, device)
        self._kept: dict[str, Tensors] = {}  # statistics of eyes without an identity, which are not cached on disk

    def count(self, most: int | None) -> int:
        """The number of images that count if at most `most` do; None for all."""
        return len(self.dataset) if most is None else min(most, len(self.dataset))

    def known(self, eye: Eye, most: int | None, kinds: Collection[str]) -> Known:
        """Statistics of at most `most` images, a random choice that is always the same. All processes must call it.

        They are the first images of the set's own shuffle; with shards, that order opens as few shards as possible.
        `kinds` are those wanted of `gaussian` and `features`.
        """
        count, first = self.count(most), distributed.is_first()
        names = {kind: f"{self._key(eye, count)}-{kind}" for kind in kinds}
        found = {kind: self._load(eye, name) for kind, name in names.items()} if first else {}
        missing = [kind for kind, tensors in found.items() if tensors is None]
        if not distributed.least(int(not missing)):
            whole = count == len(self.dataset)
            made = self._compute(eye, range(count) if whole else self._places(0, count), missing)
            for kind, tensors in made.items():
                self._save(eye, names[kind], tensors)
            found |= made
        return Known(**found)

    def between_halves(self, eye: Eye, count: int, distance: Distance) -> float | None:
        """A distance between two disjoint sets of the real images, cached on disk. All processes must call it.

        Args:
            eye: what looks at the images.
            count: images in each set; half of all if there are too few.
            distance: of the features of both sets, which are on rank 0.

        Returns:
            The distance on rank 0; None for fewer than four images.
        """
        count = min(count, len(self.dataset) // 2)
        if count < 2:
            return None
        first, name = distributed.is_first(), self._key(eye, count, "halves")
        found = self._load(eye, name, on_disk=True) if first else None
        if not distributed.least(int(found is not None or not first)):
            halves = [
                self._compute(eye, self._places(half * count, (half + 1) * count), ["features"]) for half in (0, 1)
            ]
            a, b = (half.get("features", {}).get("features") for half in halves)
            value = distance(a, b, statistics_device(self.pictures.device))
            found = {"distance": torch.tensor(value, dtype=torch.float64)}
            if first:
                self._save(eye, name, found, on_disk=True)
        return float(found["distance"]) if first and found else None

    def _places(self, start: int, stop: int) -> list[int]:
        return sorted(self.dataset.index_at(0, place) for place in range(start, stop))

    def _compute(self, eye: Eye, indices: Sequence[int], kinds: Collection[str]) -> dict[str, Tensors]:
        """Statistics of images by kind, on rank 0."""
        sums, parts = Sums(), []
        for (seen,) in look(self.pictures, [eye], indices, self.batch, f"{eye.name}, real images"):
            if not distributed.is_first():
                continue
            if "gaussian" in kinds:
                sums.add(seen.to(statistics_device(self.pictures.device)))
            if "features" in kinds:
                parts.append(seen)
        made: dict[str, Tensors] = {"features": {"features": torch.cat(parts)}} if parts else {}
        if sums.count:
            gaussian = sums.gaussian()
            made["gaussian"] = {"mean": gaussian.mean, "covariance": gaussian.covariance}
        return made

    def _key(self, eye: Eye, count: int, *more: str) -> str:
        facts = [VERSION, self.dataset.fingerprint, eye.name, eye.identity, count, *more]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

    def _load(self, eye: Eye, name: str, on_disk: bool = False) -> Tensors | None:
        """Cached statistics; None if they are missing or damaged."""
        if not eye.identity and not on_disk:
            return self._kept.get(name)
        path = cache_folder() / "statistics" / f"{name}.safetensors"
        try:
            return checkpoint.load(path)[0] if path.is_file() else None
        except ValueError:
            return None

    def _save(self, eye: Eye, name: str, tensors: Tensors, on_disk: bool = False) -> None:
        if eye.identity or on_disk:
            checkpoint.save(cache_folder() / "statistics" / f"{name}.safetensors", tensors, {})
        else:
            self._kept[name] = tensors
