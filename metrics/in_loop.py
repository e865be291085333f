"""What judges a network while it learns: metrics at every snapshot, and the best network kept.

The loop calls it with the recipe and the run, of which it uses only the protocols here: training and
judging are rooms that know nothing of each other.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from imaging.imageset import ImageSet
from metrics.detectors import Eye, find_files, open_eye
from metrics.names import Metric, parse_list
from metrics.reals import RealStatistics
from metrics.record import Record
from metrics.sources import Made
from metrics.suite import beside, between_halves, evaluate, facts_of
from models.perceptual.detectorfiles import check_trust
from models.sampler import Sampler
from torch_utils import distributed, runs
from torch_utils.device import is_out_of_memory

AT_ONCE = 2**16  # pixels: small images are quickest made many at once
MOST = 64


class JudgedRecipe(Protocol):
    """What is learned."""

    def judged(self) -> Sampler | None:
        """The sampler of the pictures that metrics judge; None if the model makes no pictures."""


class TrainingClock(Protocol):
    seen: int


class TrainingReport(Protocol):
    """Where a run speaks and draws its curves."""

    tick_began: float  # moment on the monotonic clock, from which the speed of training is taken

    def say(self, text: str = "") -> None: ...
    def scalars(self, values: Mapping[str, float], seen: int) -> None: ...


class TrainingRun(Protocol):
    """A run in progress; `folder` is None on processes that write nothing."""

    folder: Path | None
    seed: int

    @property
    def clock(self) -> TrainingClock: ...
    @property
    def report(self) -> TrainingReport: ...


@dataclass
class Judge:
    """Takes the metrics of a run's network at a snapshot, writes them down, and keeps the best network.

    When a run is resumed, results recorded after the resume point are deleted before new ones are appended.
    """

    metrics: list[Metric]
    eyes: dict[str, Eye]
    reals: RealStatistics
    batch: int
    command: str
    since: int | None  # images that a resumed run has seen

    def __call__(self, recipe: JudgedRecipe, run: TrainingRun) -> None:
        """Every process must call it."""
        if run.folder is not None and self.since is not None:
            record = Record(run.folder)
            record.rewind(self.since)
            record.keep_best(self.metrics[0])
        self.since = None
        start = time.monotonic()
        try:
            results, halves = self._results(recipe, run)
        except (ValueError, OSError, RuntimeError) as error:
            if distributed.world() > 1 or (isinstance(error, RuntimeError) and not is_out_of_memory(error)):
                raise
            run.report.say(f"the metrics could not be computed, training continues: {str(error).splitlines()[0]}")
            return
        if run.folder is not None:
            self._write(results, halves, recipe, run, run.folder, time.monotonic() - start)
        run.report.tick_began += time.monotonic() - start  # the printed speed is that of training

    def _results(self, recipe: JudgedRecipe, run: TrainingRun) -> tuple[dict[str, float], dict[str, float]]:
        made = self._made(recipe, run)
        results = evaluate(self.metrics, made, self.reals, self.eyes, self.batch)
        return results, between_halves(self.metrics, made, self.reals, self.eyes)

    def _made(self, recipe: JudgedRecipe, run: TrainingRun) -> Made:
        sampler = recipe.judged()
        if sampler is None:
            raise ValueError("--metrics: this model makes no pictures to judge")
        return Made(sampler, torch.as_tensor(self.reals.dataset.label_counts), run.seed)

    def _write(
        self,
        results: dict[str, float],
        halves: dict[str, float],
        recipe: JudgedRecipe,
        run: TrainingRun,
        folder: Path,
        seconds: float,
    ) -> None:
        seen, dataset = run.clock.seen, self.reals.dataset
        record, made = Record(folder), self._made(recipe, run)
        for metric in self.metrics:
            facts = {
                "network": runs.network_path(folder, seen).name,
                "data": dataset.name,
                "fingerprint": dataset.fingerprint,
                "seed": run.seed,
                "command": self.command,
                "seconds": round(seconds, 3),
            } | facts_of(metric, made, self.reals, halves)
            record.append({name: results[name] for name in metric.results}, seen, facts)
        for name, value in results.items():
            run.report.scalars({f"metrics/{name}": value}, seen)
        told = [f"{name} {value:.4g}{beside(name, halves)}" for name, value in results.items()]
        run.report.say("  ".join(told) + f"  ({seconds:.0f} s)")
        if note := record.keep_best(self.metrics[0]):
            run.report.say(note)


def prepare(
    names: str,
    files: Mapping[str, str],
    dataset: ImageSet,
    device: torch.device,
    batch: int,
    command: str,
    since: int | None = None,
    trust: bool = False,
) -> Judge | None:
    """What judges a run, with everything found out that could go wrong before the run begins.

    Args:
        names: of the metrics, with commas; the first decides which network is the best. "none" for no judge.
        files: of detectors, by name, as they were given.
        dataset: whole, as it is judged against.
        device: of this process.
        batch: images at once in a training step, which suits the memory.
        command: that started the run.
        since: images that a resumed run has seen; None for a new one.
        trust: whether files of detectors may be programs.

    Raises:
        FileNotFoundError, ValueError: for unknown names, and files that are not there and cannot be had.
    """
    metrics = parse_list(names)
    if not metrics:
        if files:
            raise ValueError("--detector does not apply, since --metrics is none: leave it out")
        return None
    eyes = open_eyes(metrics, files, device, trust)
    at_once = max(batch, min(AT_ONCE // (dataset.height * dataset.width), MOST))
    return Judge(metrics, eyes, RealStatistics(dataset, device, at_once), at_once, command, since)


def open_eyes(
    metrics: Sequence[Metric], given: Mapping[str, str], device: torch.device, trust: bool = False
) -> dict[str, Eye]:
    """The eyes that metrics ask for, by name. Raises FileNotFoundError or ValueError as their files do."""
    names = list(dict.fromkeys(metric.eye for metric in metrics))
    check_trust(trust, given)
    files = find_files(names, given, trust)
    return {name: open_eye(name, files, device) for name in names}
