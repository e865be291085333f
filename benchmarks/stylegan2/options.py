"""What an option of train.py changes in the time of a training step.

`python -m benchmarks.stylegan2.options --option checkpoint-activations --resolution 64`
"""

import sys
from functools import partial
from typing import Any, get_args

import click
import torch

from benchmarks.stylegan2.setting import Setting
from benchmarks.stylegan2.step import take
from benchmarks.timing import timings
from torch_utils.cli import Command, option, say
from torch_utils.config import build
from torch_utils.flags import flags, given
from training.augment.config import AugmentConfig, Pipe
from training.graphs import capture_phases
from training.stylegan2.recipe import StyleGAN2
from training.trial import compile_passes

OPTIONS = ("aug", "checkpoint-activations", "compile", "cuda-graphs")
EXAMPLES = """
Examples:
  python -m benchmarks.stylegan2.options --option aug --augpipe bgcfnc
  python -m benchmarks.stylegan2.options --option checkpoint-activations --channel-base 8192
  python -m benchmarks.stylegan2.options --option compile --channel-base 1024 --iterations 9
  python -m benchmarks.stylegan2.options --option cuda-graphs --device cuda --precision bf16 --iterations 20
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option("--option", "name", type=click.Choice(OPTIONS), required=True, group="Measurement", help="the option to time")
@option("--augpipe", type=click.Choice(get_args(Pipe)), default="bgc", group="Measurement", help="with --option aug")
def main(name: str, augpipe: Pipe, **params: Any) -> None:
    """Time the phases of a training step with and without an option of train.py, by turns in one process."""
    setting = build(Setting, given(Setting, params)).resolved()
    without, with_it = recipes(setting, name, augpipe)
    say(table(*measure(without, with_it, setting)))


def recipes(setting: Setting, name: str, augpipe: Pipe) -> tuple[StyleGAN2, StyleGAN2]:
    """Networks and their training without the option, and with it. Changes the number of threads.

    Raises:
        ValueError: if the networks cannot be compiled or captured.
    """
    device, config = setting.prepare(), setting.train_config()
    aug = {"augment": AugmentConfig(mode="fixed", p=0.5, pipe=augpipe)}
    other = config.model_copy(update=aug if name == "aug" else {name.replace("-", "_"): True})
    without, with_it = (StyleGAN2(c, torch.zeros(0), device) for c in (config, other))
    if name == "compile":
        print("compiling, which takes minutes", file=sys.stderr)
        told = compile_passes(with_it)
        if with_it.passes is with_it.plain:
            raise ValueError(told)
    if name == "cuda-graphs":
        told = capture_phases(with_it)
        if not with_it.captured:
            raise ValueError(told)
    return without, with_it


def measure(
    without: StyleGAN2, with_it: StyleGAN2, setting: Setting
) -> tuple[dict[str, int], dict[str, float], dict[str, float]]:
    """Iterations from one step of each phase to the next, and its median seconds without and with the option."""
    both = {"without": without, "with": with_it}
    calls = {f"{who} {p.name}": partial(take, recipe, p) for who, recipe in both.items() for p in recipe.phases}
    seconds = timings(calls, setting.iterations, torch.device(setting.device))
    intervals = {phase.name: phase.interval for phase in without.phases}
    a, b = ({name: seconds[f"{who} {name}"] for name in intervals} for who in both)
    return intervals, a, b


def table(intervals: dict[str, int], without: dict[str, float], with_it: dict[str, float]) -> str:
    """A measurement as text. A phase is weighted by its frequency."""
    lines = [f"{'':<6}  {'every':>5}  {'without, ms':>11}  {'with, ms':>9}  {'added':>6}"]
    for name, every in intervals.items():
        a, b = without[name], with_it[name]
        lines.append(f"{name:<6}  {every:5}  {a * 1e3:11.1f}  {b * 1e3:9.1f}  {b / a - 1:6.1%}")
    whole, more = (sum(seconds[name] / every for name, every in intervals.items()) for seconds in (without, with_it))
    return "\n".join([*lines, "", f"added to a mean iteration: {more / whole - 1:.1%}"])


main.params += flags(Setting)

if __name__ == "__main__":
    main()
