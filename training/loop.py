"""The training loop. It knows a recipe, a pace and a run, and no model by name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from imaging import loader
from imaging.imageset import ImageSet
from torch_utils import distributed, seeds
from training.config import PaceConfig
from training.draws import Draws
from training.phase import Phase, Term
from training.recipe import Pictures, Recipe
from training.run import Run

Batch = tuple[Pictures, ...]  # this process's share of a batch, from each image set
# Judges a sampler of the networks at a snapshot, given also the folder, images seen, seed and report of the run.
Judge = Callable[[Any, Path | None, int, int, Any], None]


@contextmanager
def reading(sets: Mapping[str, ImageSet], pace: PaceConfig, run: Run, workers: int) -> Iterator[Iterator[Batch]]:
    """The batches of a run, from its current position; sets after the first are shuffled by seeds from their names."""
    readers = []
    with ExitStack() as held:
        for i, (name, dataset) in enumerate(sets.items()):
            seed = seeds.derive(run.seed, name) if i else run.seed
            place = (run.clock.seen, distributed.rank(), distributed.world())
            reader = loader.batches(dataset, pace.batch, seed, *place, workers, pin=run.device.type == "cuda")
            readers.append(held.enter_context(closing(reader)))
        yield (tuple(Pictures(*pictures) for pictures in together) for together in zip(*readers, strict=True))


def fit(recipe: Recipe, batches: Iterator[Batch], run: Run, pace: PaceConfig, judge: Judge | None = None) -> None:
    """Train until `pace.kimg` thousand images were seen, or the run is asked to stop.

    Status lines are due every `pace.tick` kimg, snapshots every `pace.snap` ticks, counted from the beginning of the
    run, not of the session. A finished run ends with a snapshot, a stopped one with a state that resumes exactly.
    Raises FloatingPointError if training has diverged.
    """
    end, tick = pace.images, max(round(pace.tick * 1000), 1)
    clock = run.clock
    if clock.seen == 0:
        run.snapshot(recipe)
        run.show()
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
            run.show()
        elif run.state_is_due(pace.state_minutes):
            run.save_state(recipe)
    if clock.seen < end:
        run.save_state(recipe)
    run.wait_for_state()


def step(recipe: Recipe, batches: Iterator[Batch], run: Run, pace: PaceConfig) -> None:
    """One iteration: every phase that is due, on one batch, in rounds. If reading fails, the state is saved."""
    with run.watch.measure("data"):
        try:
            read = next(batches)
        except (ValueError, RuntimeError):
            if run.clock.seen and distributed.world() == 1:
                run.save_state(recipe)
                run.wait_for_state()
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
