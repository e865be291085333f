"""What augmentation adds to a training step.

`python -m benchmarks.augment --resolution 64 --augpipe bgc`
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import click
import torch

from benchmarks.setting import Setting
from benchmarks.step import take, timings
from torch_utils.cli import Command, option, say
from torch_utils.config import build
from torch_utils.device import keep_freed_memory, set_precision
from torch_utils.flags import flags, given
from training.augment import AugmentConfig
from training.augment.config import Pipe
from training.stylegan2.recipe import StyleGAN2

EXAMPLES = """
Examples:
  python -m benchmarks.augment
  python -m benchmarks.augment --augpipe bgcfnc --resolution 256 --batch 32 --device cuda --precision bf16
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option("--augpipe", type=click.Choice(get_args(Pipe)), default="bgc", group="Measurement", help="Kinds.")
def main(augpipe: Pipe, **params: Any) -> None:
    """Time the phases of a training step with and without augmentation, by turns, so that both see the same machine."""
    setting = build(Setting, given(Setting, params)).resolved()
    say(table(measure(setting, augpipe)))


@dataclass(frozen=True)
class Cost:
    """Seconds of each phase without something and with it, and how often the phase is due."""

    without: dict[str, float]
    with_it: dict[str, float]
    intervals: dict[str, int]

    @property
    def share(self) -> float:
        """What is added to a mean iteration, as a share of it."""
        steps = [sum(s[name] / every for name, every in self.intervals.items()) for s in (self.without, self.with_it)]
        return steps[1] / steps[0] - 1


def measure(setting: Setting, pipe: Pipe) -> Cost:
    """Medians over `setting.iterations` turns, after one that is not counted. Changes the number of threads."""
    torch.set_num_threads(setting.threads)
    config, device = setting.train_config(), torch.device(setting.device)
    set_precision(config.arithmetic)
    keep_freed_memory()
    augmented = config.model_copy(update={"augment": AugmentConfig(mode="fixed", p=0.5, pipe=pipe)})
    plain, other = (StyleGAN2(c, torch.zeros(0), device) for c in (config, augmented))
    return beside(plain, other, setting.iterations, device)


def beside(plain: StyleGAN2, other: StyleGAN2, iterations: int, device: torch.device) -> Cost:
    """Each phase of the two by turns: medians over so many turns, after one that is not counted."""
    intervals = {phase.name: phase.interval for phase in plain.phases}
    recipes = {"without": plain, "with": other}
    phases = {(who, phase.name): phase for who, recipe in recipes.items() for phase in recipe.phases}
    calls: dict[str, Callable[[int], Any]] = {
        f"{who} {name}": partial(take, recipes[who], phases[who, name]) for name in intervals for who in recipes
    }
    seconds = timings(calls, iterations, device)
    without, with_it = ({name: seconds[f"{who} {name}"] for name in intervals} for who in recipes)
    return Cost(without, with_it, intervals)


def table(cost: Cost) -> str:
    """A measurement as text."""
    lines = [f"{'':<6}  {'every':>5}  {'without, ms':>11}  {'with, ms':>9}  {'added':>6}"]
    for name, every in cost.intervals.items():
        without, with_it = cost.without[name], cost.with_it[name]
        lines.append(f"{name:<6}  {every:5}  {without * 1e3:11.1f}  {with_it * 1e3:9.1f}  {with_it / without - 1:6.1%}")
    return "\n".join([*lines, "", f"added to a mean iteration: {cost.share:.1%}"])


main.params += flags(Setting)

if __name__ == "__main__":
    main()
