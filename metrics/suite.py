"""Metrics of pictures against real images: from the names of metrics to results.

Statistics of the real images are cached on disk, because looking at a whole data set takes long.
"""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from imaging.imageset import ImageSet
from metrics.catalog import Metric
from metrics.distances import (
    Gaussian,
    Sums,
    frechet_distance,
    gaussian,
    inception_score,
    kernel_distance,
    precision_recall,
    shared,
)
from metrics.features import Eye, Judged, Made, PictureFiles, look
from metrics.path_length import steps, trimmed_mean
from metrics.results import Judgement
from metrics.sliced_wasserstein import sliced_wasserstein
from models.sampler import Straight
from system.resources import cache_folder
from torch_utils import checkpoint, distributed
from torch_utils.device import switches

Tensors = Mapping[str, Tensor]

VERSION = 2  # of cached statistics; changes when the same images would give other ones
KINDS = {"fid": "gaussian", "fd": "gaussian", "kid": "features", "pr": "features", "swd": "features"}  # of the reals


class RealStatistics:
    """A data set as the reference that pictures are judged against. A process looks at `batch` of them together."""

    def __init__(self, dataset: ImageSet, device: torch.device, batch: int) -> None:
        self.dataset, self.batch = dataset, batch
        self.device = device if device.type == "cuda" else torch.device("cpu")  # of statistics: MPS has no float64
        self._pictures = PictureFiles(dataset, device)
        self._kept: dict[str, Tensors] = {}  # statistics that are not cached on disk

    def known(self, eye: Eye, most: int | None, kinds: Collection[str]) -> dict[str, Tensor]:
        """Statistics of at most `most` images (None: of all), on rank 0. All processes must call it.

        Kinds are "gaussian", which gives `mean` and `covariance`, and "features". The images are always the same: the
        first of the set's own shuffle; with shards, that order opens as few shards as possible.
        """
        count = min(len(self.dataset) if most is None else most, len(self.dataset))
        indices = range(count) if count == len(self.dataset) else self._places(0, count)
        compute = partial(self._compute, eye, indices, kinds)
        found = self._cached(eye, count, kinds, bool(eye.identity), compute)
        return {name: tensor for tensors in found.values() for name, tensor in tensors.items()}

    def between_halves(self, eye: Eye, count: int) -> float | None:
        """The distance of patches of two disjoint sets of `count` real images, or of half of all if there are too few.

        It is cached on disk. All processes must call it; those but rank 0 get None, and all for fewer than four images.
        """
        count = min(count, len(self.dataset) // 2)
        if count < 2:
            return None

        def compute() -> dict[str, Tensors]:
            sets = (self._places(half * count, (half + 1) * count) for half in (0, 1))
            a, b = (self._compute(eye, places, ["features"]).get("features", {}) for places in sets)
            value = sliced_wasserstein(a.get("features"), b.get("features"), self.device)
            return {"halves": {"distance": torch.tensor(value, dtype=torch.float64)}}

        found = self._cached(eye, count, ["halves"], True, compute)
        return float(found["halves"]["distance"]) if found else None

    def _places(self, start: int, stop: int) -> list[int]:
        return sorted(self.dataset.index_at(0, place) for place in range(start, stop))

    def _compute(self, eye: Eye, indices: Sequence[int], kinds: Collection[str]) -> dict[str, Tensors]:
        """Statistics of images by kind, on rank 0."""
        sums, parts = Sums(), []
        for (seen,) in look(self._pictures.batches, [eye], indices, self.batch, f"{eye.name}, real images"):
            if "gaussian" in kinds and distributed.is_first():
                sums.add(seen.to(self.device))
            if "features" in kinds and distributed.is_first():
                parts.append(seen)
        made: dict[str, Tensors] = {"features": {"features": torch.cat(parts)}} if parts else {}
        return made | ({"gaussian": vars(sums.gaussian())} if sums.count else {})

    def _cached(
        self,
        eye: Eye,
        count: int,
        kinds: Collection[str],
        on_disk: bool,
        compute: Callable[[], dict[str, Tensors]],
    ) -> dict[str, Tensors]:
        """Statistics by kind on rank 0. All processes compute them if rank 0 has not cached each."""
        facts = [VERSION, self.dataset.shown, eye.name, eye.identity, count]
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
        paths = {kind: cache_folder() / "statistics" / f"{key}-{kind}.safetensors" for kind in kinds}
        loaded = {kind: _load(path) if on_disk else self._kept.get(path.name) for kind, path in paths.items()}
        found = {kind: tensors for kind, tensors in loaded.items() if tensors is not None and distributed.is_first()}
        if distributed.least(int(not distributed.is_first() or len(found) == len(paths))):
            return found
        made = compute()
        for kind, path in paths.items() if distributed.is_first() else ():
            if on_disk:
                checkpoint.save(path, made[kind], {})
            else:
                self._kept[path.name] = made[kind]
        return made if distributed.is_first() else {}


def _load(path: Path) -> Tensors | None:
    """Cached statistics; None if they are missing or damaged."""
    try:
        return checkpoint.load(path)[0] if path.is_file() else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Suite:
    """Metrics, the eyes that they need, by name, and the real images that they compare with."""

    metrics: Sequence[Metric]
    eyes: Mapping[str, Eye]
    reals: RealStatistics

    def judge(self, source: Judged) -> Judgement:
        """The results of all metrics. All processes must call it. Raises ValueError as `count`."""
        start = time.monotonic()
        results, halves = self.evaluate(source), self.between_halves(source)
        counts = {metric: self.count(metric, source) for metric in self.metrics}
        return Judgement(self.reals.dataset, counts, results, halves, time.monotonic() - start)

    def evaluate(self, source: Judged) -> dict[str, float]:
        """The results by name, the same on every process. All processes must call it.

        They depend neither on the number of processes nor, beyond rounding, on the batch.
        """
        counts = {metric: self.count(metric, source) for metric in self.metrics}
        seen = self._look({metric: count for metric, count in counts.items() if metric.kind != "ppl"}, source)
        results: dict[str, float] = {}
        for metric, count in counts.items():
            fake = seen[metric.eye][:count] if metric.eye in seen else None
            results |= dict(zip(metric.results, self._numbers(metric, count, fake, source), strict=True))
        together = torch.tensor(list(results.values()), dtype=torch.float64, device=self.reals.device)
        distributed.broadcast_([together])
        return dict(zip(results, together.tolist(), strict=True))

    def between_halves(self, source: Judged) -> dict[str, float]:
        """The value of `swd`, which has no scale of its own, between two halves of the data, by the metric's name.

        Samples as good as the data reach about that value. Each half has as many images as the metric compares, or
        half of all. Metrics of too few images are left out. All processes must call it; only rank 0 gets numbers.
        """
        of_patches = [metric for metric in self.metrics if metric.kind == "swd"]
        counts = {metric: self.count(metric, source) for metric in of_patches}
        found = {m.name: self.reals.between_halves(self.eyes[m.eye], counts[m]) for m in counts}
        return {name: value for name, value in found.items() if value is not None}

    def count(self, metric: Metric, source: Judged) -> int:
        """The number of pictures that a metric looks at; for patches at most the number of real images.

        Raises ValueError if there are fewer, or the source lacks what the metric needs.
        """
        check_latents([metric], getattr(source, "sampler", None))
        count = min(metric.samples, len(self.reals.dataset)) if metric.kind == "swd" else metric.samples
        if source.count is not None and source.count < count:
            raise ValueError(
                f"{metric.name} needs {count} images, but there are {source.count}: "
                f"take {metric.with_samples(source.count)}, and compare it only with numbers of as many images"
            )
        return count

    def _look(self, counts: Mapping[Metric, int], source: Judged) -> dict[str, Tensor]:
        """The features that each eye sees in the pictures of its metrics, on rank 0. Each picture is made only once."""
        wanted: dict[str, int] = {}
        for metric, count in counts.items():
            wanted[metric.eye] = max(count, wanted.get(metric.eye, 0))
        parts: dict[str, list[Tensor]] = {name: [] for name in wanted}
        for start, stop in pairwise([0, *sorted(set(wanted.values()))]):
            names = [name for name, count in wanted.items() if count > start]
            eyes = [self.eyes[name] for name in names]
            for seen in look(source.batches, eyes, range(start, stop), self.reals.batch, "images to be judged"):
                for name, features in zip(names, seen, strict=True) if distributed.is_first() else ():
                    parts[name].append(features)
        return {name: torch.cat(features) for name, features in parts.items() if features}

    def _numbers(self, metric: Metric, count: int, fake: Tensor | None, source: Judged) -> tuple[float, ...]:
        """The numbers of a metric, on rank 0, where `fake` is: features of samples. All processes must call it."""
        device, real = self.reals.device, self._of_reals(metric, count)
        if metric.kind == "ppl":
            return (self._path_length(metric, source),)
        if metric.kind == "swd":
            return (sliced_wasserstein(real.get("features"), fake, device),)
        if metric.kind in ("kid", "pr"):
            # TensorFloat-32, where training allows it, has too few digits for the differences of large numbers.
            with switches("fp32", torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark):
                reals, fakes = shared(real.get("features"), device), shared(fake, device)
                if metric.kind == "pr":
                    return precision_recall(reals, fakes, metric.neighbors)
                return (kernel_distance(reals, fakes),)
        if fake is None:
            return (0.0,) * len(metric.results)
        if metric.kind == "is":
            return inception_score(fake)
        return (frechet_distance(Gaussian(**real), gaussian(fake, device)),)

    def _of_reals(self, metric: Metric, count: int) -> dict[str, Tensor]:
        """The statistics of the real images for a metric, and for others that look at the same images."""
        if metric.kind not in KINDS:
            return {}
        same = [m for m in self.metrics if (m.eye, m.reals) == (metric.eye, metric.reals)]
        kinds = {KINDS[m.kind] for m in same if m.kind in KINDS}
        return self.reals.known(self.eyes[metric.eye], count if metric.kind == "swd" else metric.reals, kinds)

    def _path_length(self, metric: Metric, source: Judged) -> float:
        assert isinstance(source, Made), "checked by count"
        lengths = steps(metric, source, self.eyes[metric.eye])
        same = Eye("steps", "", lambda seen, indices: seen)  # the lengths are what is gathered
        numbers = range(metric.samples)
        seen = look(lambda wanted: map(lengths, wanted), [same], numbers, self.reals.batch, metric.name)
        return trimmed_mean(torch.cat([part for (part,) in seen]))


def check_latents(metrics: Sequence[Metric], sampler: object) -> None:
    """Raise ValueError if one of the metrics needs latents w that a sampler, or None for folders, lacks."""
    for metric in metrics:
        if metric.kind == "ppl" and not isinstance(sampler, Straight):
            why = "measures steps of latents w, which only networks with styles have"
            raise ValueError(f"{metric.name} {why}: leave this metric out")
