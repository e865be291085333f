"""Metrics of a network while it learns: at every snapshot, and the best network is kept."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from imaging.imageset import ImageSet
from metrics.catalog import parse_list
from metrics.features import Made, open_eyes
from metrics.results import Record
from metrics.suite import RealStatistics, Suite, check_latents
from models.sampler import Options, Sampler
from torch_utils import distributed, runs
from torch_utils.device import is_out_of_memory

AT_ONCE = 2**16  # pixels: small images are quickest made many at once
MOST = 64


class Report(Protocol):
    """Where a run prints and draws its curves."""

    tick_began: float  # moment on the monotonic clock, from which the speed of training is taken

    def say(self, text: str = "") -> None: ...
    def scalars(self, values: Mapping[str, float], seen: int) -> None: ...


@dataclass
class Judge:
    """Computes the metrics of a run's network at a snapshot, writes them down, and keeps the best network."""

    suite: Suite  # the first metric decides which network is the best
    command: str  # that started the run
    usual: Options  # of the pictures that metrics of this family judge; records name those that differ
    since: int | None  # images that a resumed run has seen: later results are deleted before new ones are appended

    def check(self, sampler: Sampler) -> None:
        """Raise ValueError if a metric does not suit a sampler."""
        check_latents(self.suite.metrics, sampler)

    def __call__(self, sampler: Sampler, folder: Path | None, seen: int, seed: int, report: Report) -> None:
        """Judge pictures of a sampler. Every process must call it; `folder` is None on those that write nothing."""
        first, start = self.suite.metrics[0], time.monotonic()
        if folder is not None and self.since is not None:
            Record(folder).rewind(self.since)
            Record(folder).keep_best(first)
        self.since = None
        try:
            found = self.suite.judge(Made(sampler, self.suite.reals.dataset.label_counts, seed))
        except (ValueError, OSError, RuntimeError) as error:
            if distributed.world() > 1 or (isinstance(error, RuntimeError) and not is_out_of_memory(error)):
                raise
            report.say(f"the metrics could not be computed, training continues: {str(error).splitlines()[0]}")
            return
        if folder is not None:
            changed = sampler.options.unlike(self.usual)
            more = {"options": changed} if changed else {}
            found.append_to(folder, seen, runs.network_path(folder, seen).name, seed, self.command, **more)
            report.scalars({f"metrics/{name}": value for name, value in found.results.items()}, seen)
            told = "  ".join(f"{name} {found.shown(name, 4)}" for name in found.results)
            report.say(f"{told}  ({found.seconds:.0f} s)")
            if note := Record(folder).keep_best(first):
                report.say(note)
        report.tick_began += time.monotonic() - start  # the printed speed is that of training


def prepare(
    names: str,
    files: Mapping[str, str],
    dataset: ImageSet,
    device: torch.device,
    batch: int,
    command: str,
    usual: Options,
    since: int | None = None,
    trust: bool = False,
) -> Judge | None:
    """The judge of a run; None for "none". Names of metrics and detectors are checked before the run begins.

    `batch` is the number of images at once in a training step, which fit into memory. Raises FileNotFoundError or
    ValueError.
    """
    metrics = parse_list(names)
    if metrics:
        at_once = max(batch, min(AT_ONCE // math.prod(dataset.size), MOST))
        eyes = open_eyes([metric.eye for metric in metrics], files, device, trust)
        return Judge(Suite(metrics, eyes, RealStatistics(dataset, device, at_once)), command, usual, since)
    if files:
        raise ValueError("--detector does not apply, since --metrics is none: leave it out")
    return None
