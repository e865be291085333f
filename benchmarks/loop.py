"""What the training loop costs beyond its steps: reading images, the average of G, status lines, files.

`python -m benchmarks.loop`

One process holds two equal sets of networks. The first is trained by `training.loop.fit` with all that train.py gives
it. Whenever every phase has come round, the loop is held up as it asks for a batch, and the second set takes the very
same steps bare: the same phases, images and draws, so that both come to the same weights. As they take turns, both see
the same machine, and the ratio of a cycle to the bare cycles before and after it stays true while the machine grows
faster or slower. Medians are told.

What happens rarely would take long to see at its natural share. Status lines, snapshots and states are therefore asked
for every few cycles, timed by themselves, and charged as often as the run's own pace has them. The demo set draws
faces when they are first shown: half of the cycles show new images, the other half shows them again, and the wait for
either counts as often as in the whole run. Worker processes, where there are any, read ahead during the bare steps too:
the loop is measured as if they keep up, and `benchmarks.loader` tells whether they do.
"""

import contextlib
import json
import math
import sys
import tempfile
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any

import click
import torch

from benchmarks.turns import BareSteps, TimedRun, Turns
from imaging.dataset import open_dataset
from torch_utils.cli import Command, option, say
from torch_utils.device import keep_freed_memory, set_precision
from torch_utils.flags import flags, given
from training import plan as plans
from training.compilation import compile_passes
from training.config import PaceConfig
from training.loop import fit, reading
from training.plan import Plan
from training.session import build_recipe
from training.sheet import Sheet
from training.stylegan2.config import StyleGAN2Config

CYCLES_TO_TICK, TICKS_TO_SNAPSHOT = 2, 2
EXAMPLES = """
Examples:
  python -m benchmarks.loop
  python -m benchmarks.loop --data ffhq256.zip --batch 4 --cycles 4
  python -m benchmarks.loop --snap 1 --json
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option(
    "--cycles",
    type=click.IntRange(min=4),
    default=24,
    group="Measurement",
    help="Stretches of the loop that are timed, each of as many iterations as the rarest phase waits.",
)
@option("--json", "as_json", is_flag=True, group="Measurement", help="Print JSON instead of a table.")
@option(
    "--set",
    "sets",
    multiple=True,
    metavar="NAME=VALUE",
    group="Training",
    help="Any other setting of train.py, such as average.kimg=5.",
)
def main(cycles: int, as_json: bool, sets: tuple[str, ...], **params: Any) -> None:
    """Time train.py's loop beside the bare steps of equal networks, by turns in one process.

    It takes train.py's options. Status lines go to standard error, files to a folder that is removed.
    """
    plan = plans.begin(given(StyleGAN2Config, params, sets), Path())
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        found = measure(plan, cycles, Path(folder))
    say(json.dumps(asdict(found) | {"share": found.share}) if as_json else table(plan, found))


@dataclass(frozen=True)
class Overhead:
    """One measurement, in seconds of an iteration unless something else is said."""

    batch: int
    bare: float
    rest: float  # what the loop took besides, without the next two and what is due rarely: mostly the average of G
    rest_quartiles: tuple[float, float]  # over the cycles; far apart on a busy machine, where `rest` means little
    new_waiting: float  # for a batch of images that are shown for the first time
    old_waiting: float  # for a batch of others
    new_share: float  # of the whole run's images
    occasions: dict[str, float]  # seconds of one tick, one snapshot, one state
    every: dict[str, float]  # iterations from one to the next

    @property
    def waiting(self) -> float:
        """For a batch, on average over the whole run."""
        return self.new_share * self.new_waiting + (1 - self.new_share) * self.old_waiting

    @property
    def charges(self) -> dict[str, float]:
        """For what is due rarely."""
        return {name: seconds / self.every[name] for name, seconds in self.occasions.items()}

    @property
    def loop(self) -> float:
        """All in all."""
        return self.bare + self.rest + self.waiting + sum(self.charges.values())

    @property
    def share(self) -> float:
        """The loop's images a second as a share of the bare step's."""
        return self.bare / self.loop


def measure(plan: Plan, cycles: int, folder: Path) -> Overhead:
    """Trains networks of the plan for so many cycles, with files in `folder`, and times it."""
    config, device = plan.config, plan.device
    set_precision(config.arithmetic, config.deterministic)
    keep_freed_memory()
    trained, bare = (beginning(plan) for _ in range(2))
    cycle = math.lcm(*(phase.interval for phase in trained.phases))
    images = cycle * config.pace.batch
    most = (cycles // 2 + 1) * images // (2 if config.data.mirror else 1)  # with one cycle that warms up
    dataset = open_dataset(config.data.model_copy(update={"max_images": most}))
    pace = {
        "kimg": (cycles + 1) * images / 1000,
        "tick": CYCLES_TO_TICK * images / 1000,
        "snap": TICKS_TO_SNAPSHOT,
        "state_minutes": 0.0,
    }
    run = TimedRun(folder, config.seed, device, plan.course.family.name, plan.facts, Sheet(dataset, config.seed))
    batches = reading({"data": dataset}, config.pace, run, config.workers)
    with batches as reader, closing(run), contextlib.redirect_stdout(sys.stderr):
        turns = Turns(reader, run, BareSteps(bare), cycle)
        fit(trained, turns, run, config.pace.model_copy(update=pace))
        turns.take()
    return overhead(plan, turns, run, len(dataset) // images)


def beginning(plan: Plan) -> Any:
    """Networks as the run begins with, always the same."""
    recipe = build_recipe(plan)
    if plan.config.compile:
        print(compile_passes(recipe), file=sys.stderr)
    return recipe


def overhead(plan: Plan, turns: Turns, run: TimedRun, new: int) -> Overhead:
    """What was timed, put together. The first cycle warmed up; those before cycle `new` showed new images."""
    pace, n = plan.config.pace, turns.cycle
    bare = median(turns.bare[1:])
    # Every cycle beside the bare ones before and after it.
    own = [whole - waited for whole, waited in zip(turns.loop[1:], turns.waited[1:], strict=True)]
    beside = [2 * t / (before + after) - 1 for t, (before, after) in zip(own, pairwise(turns.bare), strict=True)]
    low, middle, high = (bare * share / n for share in quantiles(beside, n=4))
    new_ones, old_ones = turns.waited[:new], turns.waited[max(new, 1) :]
    return Overhead(
        batch=pace.batch,
        bare=bare / n,
        rest=middle,
        rest_quartiles=(low, high),
        new_waiting=mean(new_ones or old_ones) / n,  # faces are drawn several at a time: the first cycles wait longest
        old_waiting=median(old_ones or new_ones) / n,
        new_share=min(len(plan.dataset) / pace.images, 1.0),
        occasions={name: median(seconds) for name, seconds in run.seconds.items()},
        every=appointments(pace, bare / n),
    )


def appointments(pace: PaceConfig, seconds: float) -> dict[str, float]:
    """How many iterations, of so many seconds each, lie between two ticks, two snapshots and two states."""
    tick = pace.tick * 1000 / pace.batch
    snapshot = tick * pace.snap
    between = int(snapshot * seconds / (pace.state_minutes * 60)) if pace.state_minutes else 0
    return {"tick": tick, "snapshot": snapshot, "state": snapshot / (1 + between)}


def table(plan: Plan, found: Overhead) -> str:
    """A measurement as text."""
    low, high = found.rest_quartiles
    rows = [
        (
            "waiting for a batch",
            found.waiting,
            f"{found.new_waiting * 1e3:.2f} of new images, {found.new_share:.0%} of all",
        ),
        ("the average of G, and so on", found.rest, f"quartiles {low * 1e3:.2f} and {high * 1e3:.2f}"),
    ]
    for name, seconds in found.occasions.items():
        rows.append((name, found.charges[name], f"{seconds * 1e3:.0f} every {found.every[name]:g} iterations"))
    lines = [
        f"{plan.dataset.name}, preset {plan.config.preset}, batch {found.batch}, {plan.device}, "
        f"{plan.config.precision}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}",
        "",
        f"{'':<27}  {'images/s':>9}  {'ms':>8}",
        f"{'bare steps':<27}  {found.batch / found.bare:9.2f}  {found.bare * 1e3:8.2f}  {1:7.2%}",
        *(f"{name:<27}  {'':>9}  {t * 1e3:8.2f}  {t / found.bare:7.2%}  {note}" for name, t, note in rows),
        f"{'the loop':<27}  {found.batch / found.loop:9.2f}  {found.loop * 1e3:8.2f}",
        "",
        f"the loop reaches {found.share:.1%} of the images a second of bare steps",
    ]
    return "\n".join(lines)


main.params += flags(StyleGAN2Config)

if __name__ == "__main__":
    main()
