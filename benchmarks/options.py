"""What an option of train.py that leaves results alone changes in the time of a training step.

`python -m benchmarks.options --option checkpoint-activations --resolution 64`
"""

import sys
from typing import Any

import click
import torch

from benchmarks.augment import Cost, beside, table
from benchmarks.setting import Setting
from torch_utils.cli import Command, option, say
from torch_utils.config import build
from torch_utils.device import keep_freed_memory, set_precision
from torch_utils.flags import flags, given
from training.compilation import compile_passes
from training.graphs import capture_phases
from training.stylegan2.recipe import StyleGAN2

OPTIONS = ("checkpoint-activations", "compile", "cuda-graphs")
EXAMPLES = """
Examples:
  python -m benchmarks.options --option checkpoint-activations --channel-base 8192
  python -m benchmarks.options --option compile --channel-base 1024 --iterations 9
  python -m benchmarks.options --option cuda-graphs --device cuda --precision bf16 --batch 8 --iterations 20
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option("--option", "name", type=click.Choice(OPTIONS), required=True, group="Measurement", help="What is given.")
def main(name: str, **params: Any) -> None:
    """Time the phases of a training step with and without an option of train.py, by turns in one process."""
    setting = build(Setting, given(Setting, params)).resolved()
    say(table(measure(setting, name)))


def measure(setting: Setting, name: str) -> Cost:
    """Medians over `setting.iterations` turns, after one that is not counted. Changes the number of threads.

    Raises:
        ValueError: when the networks cannot be compiled or captured, so that there is nothing to measure.
    """
    torch.set_num_threads(setting.threads)
    config, device = setting.train_config(), torch.device(setting.device)
    set_precision(config.arithmetic)
    keep_freed_memory()
    with_it = config.model_copy(update={name.replace("-", "_"): True})
    plain, other = (StyleGAN2(c, torch.zeros(0), device) for c in (config, with_it))
    if with_it.compile:
        print("compiling, which takes minutes", file=sys.stderr)
        told = compile_passes(other)
        if other.passes is other.plain:
            raise ValueError(told)
    if with_it.cuda_graphs:
        told = capture_phases(other)
        if not other.captured:
            raise ValueError(told)
    return beside(plain, other, setting.iterations, device)


main.params += flags(Setting)

if __name__ == "__main__":
    main()
