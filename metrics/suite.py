"""From the names of metrics to results: pictures are made, eyes look at them, numbers follow."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from metrics import path_length as paths
from metrics.detectors import Eye
from metrics.features import look
from metrics.frechet import frechet_distance, gaussian
from metrics.inception_score import inception_score
from metrics.kernel import kernel_distance
from metrics.names import Metric
from metrics.precision_recall import precision_recall
from metrics.reals import Known, RealStatistics
from metrics.sharing import shared, statistics_device
from metrics.sliced_wasserstein import level_distance
from metrics.sources import JudgedSource, Made
from models.sampler import Walkable
from torch_utils import distributed
from torch_utils.device import switches

KINDS = {"fid": "gaussian", "fd": "gaussian", "kid": "features", "pr": "features", "swd": "features"}  # of the reals


def evaluate(
    metrics: Sequence[Metric], source: JudgedSource, reals: RealStatistics, eyes: Mapping[str, Eye], batch: int
) -> dict[str, float]:
    """The results of metrics by name, the same on every process. All processes must call it.

    They depend neither on the number of processes nor, beyond rounding, on the batch.

    Args:
        metrics: what to compute.
        source: the pictures that are judged.
        reals: the reference that they are judged against.
        eyes: by name, all that the metrics need.
        batch: images that a process makes and looks at together.

    Raises:
        ValueError: if there are too few pictures, or a metric does not apply to them.
    """
    counts = {metric: count_of(metric, source, reals) for metric in metrics}
    seen = _look_at_samples({m: n for m, n in counts.items() if m.of_pictures}, source, eyes, batch)
    place = statistics_device(reals.pictures.device)
    results: dict[str, float] = {}
    for metric, count in counts.items():
        if metric.kind == "ppl":
            assert isinstance(source, Made), "checked by count_of"
            numbers: tuple[float, ...] = _path_length(metric, source, eyes[metric.eye], batch)
        else:
            known = _of_reals(metric, count, metrics, reals, eyes)
            fake = seen[metric.eye][:count] if distributed.is_first() else None
            numbers = _numbers(metric, fake, known, place)
        results |= dict(zip(metric.results, numbers, strict=True))
    together = torch.tensor(list(results.values()), dtype=torch.float64, device=place)
    distributed.broadcast_([together])
    return dict(zip(results, together.tolist(), strict=True))


def between_halves(
    metrics: Sequence[Metric], source: JudgedSource, reals: RealStatistics, eyes: Mapping[str, Eye]
) -> dict[str, float]:
    """The value of `swd`, which has no scale of its own, between two halves of the data, by the metric's name.

    Samples as good as the data reach about that value. Each half has as many images as the metric compares, or half of
    all. Metrics of too few images are left out. All processes must call it; only rank 0 gets numbers. The arguments
    are those of `evaluate`.
    """
    found: dict[str, float] = {}
    for metric in metrics:
        if metric.kind == "swd":
            value = reals.between_halves(eyes[metric.eye], count_of(metric, source, reals), _sliced)
            found |= {} if value is None else {metric.name: value}
    return found


def beside(name: str, halves: Mapping[str, float]) -> str:
    """Words to print after a number: ` (3.2 between halves of the data)`; empty if that is unknown."""
    return f" ({halves[name]:.4g} between halves of the data)" if name in halves else ""


def facts_of(
    metric: Metric, source: JudgedSource, reals: RealStatistics, halves: Mapping[str, float]
) -> dict[str, float]:
    """Facts of one metric for metrics.jsonl: the number of pictures, and the value between halves if known."""
    count = {"count": count_of(metric, source, reals)}
    return count | ({"between_halves": halves[metric.name]} if metric.name in halves else {})


def count_of(metric: Metric, source: JudgedSource, reals: RealStatistics) -> int:
    """The number of pictures that a metric looks at; for patches at most the number of real images.

    Raises:
        ValueError: if there are fewer, or the source lacks what the metric needs.
    """
    if metric.kind == "ppl" and not (isinstance(source, Made) and isinstance(source.sampler, Walkable)):
        raise ValueError(
            f"{metric.name} needs a network whose latents can be changed little by little: leave this metric out"
        )
    count = min(metric.samples, reals.count(None)) if metric.kind == "swd" else metric.samples
    if source.count is not None and source.count < count:
        raise ValueError(
            f"{metric.name} needs {count} images, but there are {source.count}: "
            f"take {metric.with_samples(source.count)}, and compare it only with numbers of as many images"
        )
    return count


def _look_at_samples(
    counts: Mapping[Metric, int], source: JudgedSource, eyes: Mapping[str, Eye], batch: int
) -> dict[str, Tensor]:
    """The features that each eye sees in the pictures of its metrics, on rank 0. Each picture is made only once."""
    wanted: dict[str, int] = {}
    for metric, count in counts.items():
        wanted[metric.eye] = max(count, wanted.get(metric.eye, 0))
    parts: dict[str, list[Tensor]] = {name: [] for name in wanted}
    for start, stop in pairwise([0, *sorted(set(wanted.values()))]):
        names = [name for name, count in wanted.items() if count > start]
        for seen in look(source, [eyes[name] for name in names], range(start, stop), batch, "images to be judged"):
            if distributed.is_first():
                for name, features in zip(names, seen, strict=True):
                    parts[name].append(features)
    return {name: torch.cat(features) for name, features in parts.items() if features}


def _of_reals(
    metric: Metric, count: int, metrics: Sequence[Metric], reals: RealStatistics, eyes: Mapping[str, Eye]
) -> Known:
    """The statistics of the real images for a metric, and for others that look at the same images."""
    if metric.kind not in KINDS:
        return Known()
    most = count if metric.kind == "swd" else metric.reals
    same = [m for m in metrics if m.eye == metric.eye and m.kind in KINDS and m.reals == metric.reals]
    return reals.known(eyes[metric.eye], most, {KINDS[m.kind] for m in same})


def _numbers(metric: Metric, fake: Tensor | None, known: Known, device: torch.device) -> tuple[float, ...]:
    """The numbers of a metric on rank 0, where the features are. All processes must call it."""
    if metric.kind in ("is", "fid", "fd"):
        if fake is None:
            return (0.0,) * len(metric.results)
        if metric.kind == "is":
            return inception_score(fake)
        assert known.gaussian is not None
        return (frechet_distance(known.gaussian, gaussian(fake, device)),)
    if metric.kind == "swd":
        _check_alike(metric, known.features, fake)
        return (_sliced(known.features, fake, device),)
    # TensorFloat-32, where training allows it, has too few digits for the differences of large numbers.
    with switches("fp32", torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark):
        real, made = shared(known.features, device), shared(fake, device)
        if metric.kind == "kid":
            return (kernel_distance(real, made),)
        return precision_recall(real, made, metric.neighbors)


def _check_alike(metric: Metric, real: Tensor | None, fake: Tensor | None) -> None:
    if real is not None and fake is not None and real.shape[1:] != fake.shape[1:]:
        raise ValueError(
            f"{metric.name} compares images of the same size and channels, but these differ from the data's: "
            f"convert them with dataset_tool.py, or leave this metric out"
        )


def _sliced(a: Tensor | None, b: Tensor | None, device: torch.device) -> float:
    """The sliced Wasserstein distance of patches, which are on rank 0, one level at a time on every device."""
    levels = int(shared(None if a is None else torch.tensor(float(a.shape[1])), device))
    found = []
    for level in range(levels):
        pair = (shared(None if patches is None else patches[:, level], device) for patches in (a, b))
        found.append(level_distance(*pair))
    return sum(found) / levels


def _path_length(metric: Metric, made: Made, lpips: Eye, batch: int) -> tuple[float]:
    whole = Eye("steps", "", lambda lengths, indices: lengths)
    parts = [seen for (seen,) in look(_Steps(metric, made, lpips), [whole], range(metric.samples), batch, metric.name)]
    return (paths.trimmed_mean(torch.cat(parts)),)


class _Steps:
    """A source of lengths of steps, not pictures, so that `look` deals and gathers the work on them."""

    count = None

    def __init__(self, metric: Metric, made: Made, lpips: Eye) -> None:
        assert isinstance(made.sampler, Walkable), "checked by count_of"
        self.metric, self.made, self.lpips = metric, made, lpips
        self.sampler = made.sampler.in_float32()  # a step is smaller than the rounding of the shorter formats

    def batches(self, wanted: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        return map(self.lengths, wanted)

    @torch.no_grad()
    def lengths(self, indices: Sequence[int]) -> Tensor:
        metric, sampler = self.metric, self.sampler
        begin, end = (self.made.requests(indices, start) for start in ("z", "other end"))
        return paths.path_lengths(
            map_=lambda z: sampler.map(z, begin),
            render=lambda ws: sampler.render(ws, [*begin, *begin]),
            embed=lambda images: self.lpips(paths.prepared(images, metric.crop)),
            z=(sampler.latents(begin), sampler.latents(end)),
            t=self.made.uniform(indices, "step") * float(metric.full),
            space=metric.space,
        )
