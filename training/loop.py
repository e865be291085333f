"""WHEN things happen. The loop knows a recipe, a pace and a run, and names no family of networks."""

from collections.abc import Callable, Iterator

from torch import Tensor

from imaging.pixels import to_images
from torch_utils import distributed
from training.config import PaceConfig
from training.draws import Draws
from training.phase import Phase, Term
from training.recipe import Recipe
from training.run import Run

Batch = tuple[Tensor, Tensor]  # uint8 pixels [n, C, H, W] and class numbers [n] of this process
Evaluate = Callable[[Recipe, Run], None]  # judges the networks at a snapshot


def fit(recipe: Recipe, batches: Iterator[Batch], run: Run, pace: PaceConfig, evaluate: Evaluate | None = None) -> None:
    """Trains until `pace.kimg` thousand images were seen, or the run is asked to stop.

    Status lines are due every `pace.tick` kimg, snapshots every `pace.snap` ticks, by the count of images since the
    very beginning, so that a resumed run keeps the same appointments. When it ends, the run has a snapshot, or when it
    was stopped, a state from which it goes on exactly.

    Raises:
        FloatingPointError: when training has diverged.
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
            if evaluate is not None:
                evaluate(recipe, run)
            run.save_state(recipe)
            run.show()
        elif run.state_is_due(pace.state_minutes):
            run.save_state(recipe)
    if clock.seen < end:
        run.save_state(recipe)
    run.wait_for_state()


def step(recipe: Recipe, batches: Iterator[Batch], run: Run, pace: PaceConfig) -> None:
    """One iteration: every phase that is due, on one batch of real images dealt out in rounds."""
    with run.watch.measure("data"):
        pixels, labels = (tensor.to(run.device, non_blocking=True) for tensor in _read(batches, recipe, run))
    for phase in recipe.phases:
        if phase.due(run.clock.iteration):
            with run.watch.measure(phase.name):
                losses = rounds(recipe, phase, pixels, labels, pace, run.seed, run.clock.iteration)
                phase.step(losses, len(_parts(pace)), run.collector)


def _read(batches: Iterator[Batch], recipe: Recipe, run: Run) -> Batch:
    """The next batch. If it cannot be read, what has been learned is saved before the run ends."""
    try:
        return next(batches)
    except (ValueError, RuntimeError):
        if run.clock.seen and distributed.world() == 1:
            run.save_state(recipe)
            run.wait_for_state()
        raise


def rounds(
    recipe: Recipe, phase: Phase, pixels: Tensor, labels: Tensor, pace: PaceConfig, seed: int, iteration: int
) -> Iterator[Iterator[Term]]:
    """The losses of one round after another, each on its part of this process's share of the batch."""
    first = distributed.rank() * len(pixels)
    for part in _parts(pace):
        reals = recipe.reals(to_images(pixels[part]), labels[part]) if phase.reads_images else None
        where = (pace.batch, first + part.start, first + part.stop)
        draws = Draws(seed, iteration, phase.name, *where, pixels.device)
        yield recipe.losses(phase, reals, draws)


def _parts(pace: PaceConfig) -> list[slice]:
    """A process's share of the batch, in equal parts of `batch_gpu` images."""
    share = pace.batch // distributed.world()
    assert share % pace.batch_gpu == 0, "the parts of a batch are equal"
    return [slice(i, i + pace.batch_gpu) for i in range(0, share, pace.batch_gpu)]
