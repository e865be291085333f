"""A run that is timed by parts, and equal steps without a run, taken by turns so that both see the same machine."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.timing import synchronize, timed
from torch_utils.stats import Collector
from training.loop import Batch, rounds
from training.phase import Phase
from training.recipe import Pictures, Recipe
from training.run import Run
from training.stylegan2.recipe import StyleGAN2


class TimedRun(Run):
    """A run that tells how long each of its ticks, snapshots and states took, and how long all took together."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seconds: dict[str, list[float]] = {"tick": [], "snapshot": [], "state": []}
        self.spent = 0.0

    def tick(self, phases: Sequence[Phase], end: int) -> None:
        with self._timed("tick"):
            super().tick(phases, end)

    def snapshot(self, recipe: Recipe) -> None:
        with self._timed("snapshot"):
            super().snapshot(recipe)

    def save_state(self, recipe: Recipe) -> None:
        with self._timed("state"):
            super().save_state(recipe)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        synchronize(self.device)  # what the steps left to do is theirs
        start = time.perf_counter()
        yield
        synchronize(self.device)
        seconds = time.perf_counter() - start
        self.spent += seconds
        if self.clock.seen:  # the sheet of untrained networks comes without a network file
            self.seconds[name].append(seconds)


class Turns:
    """The batches of a run. After every cycle the loop that asks for more is held up, and a cycle is taken bare.

    `loop` and `bare` are the seconds of cycles, one list without what `run` timed by itself; `waited` is what of the
    loop's went by until batches came.
    """

    def __init__(self, batches: Iterator[Batch], run: TimedRun, bare: "BareSteps", cycle: int) -> None:
        self.batches, self.run, self.cycle = batches, run, cycle
        self.loop: list[float] = []
        self.waited: list[float] = []
        self.bare: list[float] = []
        self._bare = bare
        self._begin()

    def __iter__(self) -> "Turns":
        return self

    def __next__(self) -> Batch:
        if len(self._shown) == self.cycle:
            self.take()
        start = time.perf_counter()
        self._shown.append(next(self.batches))
        self._waited += time.perf_counter() - start
        return self._shown[-1]

    def take(self) -> None:
        """Ends a cycle of the loop and takes it bare."""
        synchronize(self.run.device)
        self.loop.append(time.perf_counter() - self._began - self.run.spent)
        self.waited.append(self._waited)
        self.bare.append(self._bare.take(self._shown))
        self._begin()

    def _begin(self) -> None:
        self._shown: list[Batch] = []
        self._waited = self.run.spent = 0.0
        self._began = time.perf_counter()


class BareSteps:
    """The phases of training on batches that lie ready on the device, and nothing else."""

    def __init__(self, recipe: StyleGAN2) -> None:
        self.recipe = recipe
        self.device = recipe.path_mean.device
        self.iteration = 0
        self.collector = Collector(self.device)

    def take(self, batches: list[Batch]) -> float:
        """One iteration on each batch; returns the seconds of all."""
        ready = [tuple(Pictures(*(t.to(self.device) for t in part)) for part in batch) for batch in batches]
        return timed(lambda: self._iterate(ready), self.device)

    def _iterate(self, batches: list[Batch]) -> None:
        config = self.recipe.config
        for sets in batches:
            for phase in self.recipe.phases:
                if phase.due(self.iteration):
                    losses = rounds(self.recipe, phase, sets, config.pace, config.seed, self.iteration)
                    phase.step(losses, config.pace.batch // config.pace.batch_gpu, self.collector)
            self.iteration += 1
