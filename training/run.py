"""A training run and its loop: its clock, its folder, and the files in the folder."""

import os
import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch

from imaging import loader
from imaging.grid import save_image
from imaging.imageset import ImageSet
from models.families import FAMILIES, save_network
from torch_utils import checkpoint, distributed, runs, seeds
from torch_utils.device import peak_memory
from torch_utils.launch import STOPPING
from torch_utils.stats import Collector, Stopwatch
from training.config import PaceConfig, RunConfig
from training.courses import find
from training.phase import Phase, Term
from training.recipe import Draws, Pictures, Recipe
from training.report.boards import Wandb
from training.report.writer import Forecast, Report
from training.sheet import Sheet
from training.state import VERSION, Clock, Saver, machine

CONSULT_EVERY = 16  # iterations after which several GPUs agree whether to stop: every agreement makes the host wait

Batch = tuple[Pictures, ...]  # this process's share of a batch, from each image set


class Judge(Protocol):
    """Judges pictures of a run's networks."""

    def check(self, sampler: Any) -> None:
        """Raise ValueError if the pictures of a sampler cannot be judged."""
        ...

    def __call__(self, sampler: Any, folder: Path | None, seen: int, seed: int, report: Any) -> None:
        """Judge at a snapshot; `folder`, `seed` and `report` are the run's, and `seen` counts images."""
        ...


class Run:
    """A run folder in use; None on ranks other than 0, which write nothing. `clock` is that of a resumed run.

    `facts` are metadata of states and network files. `dataset` is that of the sample sheets; None for no sheets.
    """

    def __init__(
        self,
        folder: Path | None,
        config: RunConfig,
        device: torch.device,
        facts: Mapping[str, Any],
        dataset: ImageSet | None = None,
        clock: Clock | None = None,
        wandb: Wandb | None = None,
    ) -> None:
        course = find(config.model)
        self.folder, self.device, self.facts = folder, device, facts
        self.seed, self.family, self.light = config.seed, course.family.name, config.pace.light_files
        self.sheet = None if dataset is None else Sheet(dataset, config.seed, config.pace.sheet)
        self.clock = clock or Clock(iteration=0, seen=0, seconds=0.0)
        self.report = Report(folder, self.clock.seen, facts.get("training"), wandb)
        self.collector, self.watch, self.saver = Collector(device), Stopwatch(device), Saver(device)
        self.forecast = Forecast(device, course.smaller, self.report.say)
        self._stop = False
        self._handlers: dict[signal.Signals, Any] = {}  # the handlers before this run
        self._saved_at = time.monotonic()
        self._began = time.monotonic() - self.clock.seconds

    def stop_on_signals(self) -> None:
        """Make Ctrl-C, SIGTERM and SIGHUP finish the current step first; a second signal ends the process at once."""
        self._process = os.getpid()
        self._handlers = {number: signal.signal(number, self._on_signal) for number in STOPPING}

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked process has no run to save
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._stop = True
        for other in STOPPING:
            signal.signal(other, signal.SIG_DFL)
        if self.folder is not None:
            # os.write, because the signal may have interrupted a print
            with suppress(OSError):
                os.write(2, b"\nfinishing this step, then saving; a second time stops at once and saves nothing\n")

    def stopping(self) -> bool:
        """Whether the run was asked to stop; all processes agree."""
        return self._any_process(self._stop)

    def state_is_due(self, minutes: float) -> bool:
        """Whether a state was last saved `minutes` ago or earlier; all processes agree. 0: never due."""
        return self._any_process(bool(minutes) and time.monotonic() - self._saved_at >= minutes * 60)

    def _any_process(self, wish: bool) -> bool:
        if distributed.world() == 1:
            return wish
        if self.device.type == "cuda" and self.clock.iteration % CONSULT_EVERY:
            return False
        return bool(distributed.sum_(torch.tensor(float(wish), device=self.device)).item())

    def show_progress(self, seen: int, end: int) -> None:
        """Move the progress bar, print the forecast once, and raise the error of a save that failed meanwhile."""
        self.report.show_progress(seen, end)
        self.forecast.step(seen, end)
        self.saver.look()

    def tick(self, phases: Sequence[Phase], end: int) -> None:
        """Read the statistics from the device and report them. Nowhere else does training wait for the device."""
        moments = self.collector.read(distributed.sum_ if distributed.world() > 1 else None)
        facts: dict[str, float] = {
            "time/seconds": time.monotonic() - self._began,
            "memory/peak bytes": peak_memory(self.device),
            "steps skipped": sum(phase.skipped() for phase in phases),
        }
        facts |= {f"learning rate/{phase.name}": phase.optimizer.param_groups[0]["lr"] for phase in phases}
        self.report.tick(self.clock.seen, end, moments, self.watch.read(), facts)
        for phase in phases:
            phase.check(f"--transfer and {self.report.signs.diverged}")

    def snapshot(self, recipe: Recipe) -> None:
        """Write the sample sheet and the network file."""
        if self.folder is None:
            return
        seen, path = self.clock.seen, None
        measures = dict(recipe.measure()) if seen else {}
        if self.sheet is not None and (shown := recipe.show(self.sheet)) is not None:
            picture, path = self.sheet.arrange(shown), runs.samples_path(self.folder, seen)
            save_image(picture, path)
            if seen and self.report.signs.diversity:  # at 0 it is noise
                measures |= self.sheet.measure(picture, self.folder / runs.REALS)
        self.report.snapshot(path, seen, measures)
        if seen:
            networks, dtype = dict(recipe.networks), torch.float32
            if self.light:
                kept = next((name for name in FAMILIES[self.family].shown if name in networks), None)
                networks, dtype = {kept: networks[kept]} if kept else networks, torch.float16
            facts = {**self.facts, "kimg": seen / 1000}
            save_network(runs.network_path(self.folder, seen), self.family, networks, facts, dtype)

    def save_state(self, recipe: Recipe) -> None:
        """Save all that is needed to resume exactly, on CUDA in the background; the previous state stays beside it."""
        stats, rank, world = self.collector.state_dict(), distributed.rank(), distributed.world()
        sums = torch.zeros(world, *stats["sums"].shape, dtype=stats["sums"].dtype)  # of all processes
        sums[rank] = stats["sums"]
        stats["sums"] = distributed.sum_(sums.to(self.device)).cpu()
        self._saved_at = time.monotonic()
        self.clock.seconds = self._saved_at - self._began
        if self.folder is None:
            return
        tree = {"recipe": recipe.state_dict(), "clock": self.clock.model_dump(), "stats": stats}
        tensors, skeleton = checkpoint.pack(tree)
        metadata = {"format": runs.STATE_FORMAT, "version": VERSION, "tree": skeleton, "world": world}
        metadata |= {**machine(self.device), **self.facts}
        path = self.folder / runs.STATE
        self.saver.save(path, tensors, metadata, previous=self.folder / runs.PREVIOUS_STATE)

    def resume_statistics(self, stats: dict[str, Any]) -> None:
        """Restore the statistics of this process; if the number of processes has changed, rank 0 takes all."""
        sums, rank = stats["sums"], distributed.rank()
        if len(sums) != distributed.world():
            sums = torch.stack([sums.sum(dim=0)] + [torch.zeros_like(sums[0])] * (distributed.world() - 1))
        host = stats["host"] if distributed.is_first() else {}
        self.collector.load_state_dict(stats | {"sums": sums[rank], "host": host})

    def close(self) -> None:
        """Restore the signal handlers, and end the last save and the report. Raises OSError if the disk is full."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
        self.saver.close()
        self.report.close()


def reading(sets: Mapping[str, ImageSet], pace: PaceConfig, run: Run, workers: int) -> Generator[Batch]:
    """The batches of a run, from its current position; sets after the first are shuffled by seeds from their names."""
    with ExitStack() as held:
        readers = []
        for i, (name, dataset) in enumerate(sets.items()):
            seed = seeds.derive(run.seed, name) if i else run.seed
            place = (run.clock.seen, distributed.rank(), distributed.world())
            reader = loader.batches(dataset, pace.batch, seed, *place, workers, pin=run.device.type == "cuda")
            readers.append(held.enter_context(closing(reader)))
        for together in zip(*readers, strict=True):
            yield tuple(Pictures(*pictures) for pictures in together)


def fit(
    recipe: Recipe, batches: Iterator[Batch], run: Run, pace: PaceConfig, judge: Callable[..., None] | None = None
) -> None:
    """Train until `pace.kimg` thousand images were seen, or the run is asked to stop; both end in a saved state.

    Status lines are due every `pace.tick` kimg, snapshots every `pace.snap` ticks, counted from the beginning of the
    run, not of the session. Raises FloatingPointError if training has diverged.
    """
    end, tick = pace.images, max(round(pace.tick * 1000), 1)
    clock = run.clock
    if clock.seen == 0:
        run.snapshot(recipe)
        run.report.page("running")
    while clock.seen < end and not run.stopping():
        before = clock.seen
        step(recipe, batches, run, pace)
        recipe.after_step(before)
        clock.iteration += 1
        clock.seen += pace.batch
        run.show_progress(clock.seen, end)
        last = clock.seen >= end
        if last or clock.seen // tick > before // tick:
            run.tick(recipe.phases, end)
        if last or clock.seen // (tick * pace.snap) > before // (tick * pace.snap):
            run.snapshot(recipe)
            if judge is not None and (sampler := recipe.judged()) is not None:
                judge(sampler, run.folder, clock.seen, run.seed, run.report)
            run.save_state(recipe)
            run.report.page("running")
        elif run.state_is_due(pace.state_minutes):
            run.save_state(recipe)
    if clock.seen < end:
        run.save_state(recipe)
    run.saver.wait()


def step(recipe: Recipe, batches: Iterator[Batch], run: Run, pace: PaceConfig) -> None:
    """One iteration: every phase that is due, on one batch, in rounds. If reading fails, the state is saved."""
    with run.watch.measure("data"):
        try:
            read = next(batches)
        except (ValueError, RuntimeError):
            if run.clock.seen and distributed.world() == 1:
                run.save_state(recipe)
                run.saver.wait()
            raise
        sets = [Pictures(*(t.to(run.device, non_blocking=True) for t in pictures)) for pictures in read]
    for phase in recipe.phases:
        if run.clock.iteration % phase.interval == 0:
            with run.watch.measure(phase.name):
                losses = rounds(recipe, phase, sets, pace, run.seed, run.clock.iteration)
                phase.step(losses, len(sets[0].pixels) // pace.batch_gpu, run.collector, run.clock.seen)


def rounds(
    recipe: Recipe, phase: Phase, sets: Sequence[Pictures], pace: PaceConfig, seed: int, iteration: int
) -> Iterator[Iterator[Term]]:
    """The losses of each round of `pace.batch_gpu` images of `sets`, this process's share of the batch."""
    share, size = len(sets[0].pixels), pace.batch_gpu
    assert share % size == 0, "the rounds of a batch are equal"
    for start in range(0, share, size):
        parts = (Pictures(pixels[start : start + size], labels[start : start + size]) for pixels, labels in sets)
        batch = recipe.batch(*parts) if phase.reads_images else None
        first = distributed.rank() * share + start
        draws = Draws(seed, iteration, phase.name, pace.batch, first, first + size, sets[0].pixels.device)
        yield recipe.terms(phase, batch, draws)
