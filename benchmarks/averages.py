"""One training run, and several averages of its generator side by side.

`python -m benchmarks.averages --preset demo --kimg 60 --half-life 0.5 --half-life 2.5 --half-life 10`

The average takes no part in learning, so a single run shows what every half-life would have given. At each snapshot
the folder gets a network file for each of them, `average-2.5-000060.0.safetensors` for a half-life of 2.5 kimg, which
`benchmarks.quality` compares.
"""

from pathlib import Path
from typing import Any

import click

from models.families import save_network
from torch_utils import runs
from torch_utils.cli import Command, option, say
from torch_utils.device import keep_freed_memory, set_precision
from torch_utils.flags import flags, given
from training import plan as plans
from training.ema import Average
from training.loop import fit, reading
from training.plan import Plan
from training.recipe import Recipe
from training.run import Run
from training.session import build_recipe
from training.stylegan2.config import StyleGAN2Config

EXAMPLES = """
Examples:
  python -m benchmarks.averages --preset demo --kimg 60
  python -m benchmarks.averages --preset demo --loss rpgan --half-life 1 --half-life 5
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option(
    "--half-life",
    "half_lives",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    default=(0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    group="Measurement",
    help="In thousands of images; give the option again for more.",
)
@option("--outdir", type=click.Path(path_type=Path), default=Path("runs"), group="Output", help="Where runs are kept.")
@option("--set", "sets", multiple=True, metavar="NAME=VALUE", group="Training", help="Any other setting of train.py.")
def main(half_lives: tuple[float, ...], outdir: Path, sets: tuple[str, ...], **params: Any) -> None:
    """Train once on a CPU, as train.py does, and keep an average of the generator for each half-life."""
    plan = plans.begin(given(StyleGAN2Config, params | {"device": "cpu"}, sets), outdir)
    folder = runs.create(outdir, f"{plan.dataset.name}-averages")
    train(plan, folder, half_lives)
    say(f"files lie in {folder}")


def train(plan: Plan, folder: Path, half_lives: tuple[float, ...]) -> None:
    """Carries out the plan and leaves networks in the folder."""
    config = plan.config
    set_precision(config.arithmetic, config.deterministic)
    keep_freed_memory()
    recipe, family = build_recipe(plan), plan.course.family.name
    averages = {half_life: Average(recipe.G, half_life * 1000) for half_life in half_lives}
    recipe.averages += averages.values()
    run = Run(folder, config.seed, plan.device, family, plan.facts)
    run.stop_on_signals()

    def keep(_: Recipe, run: Run) -> None:
        name = runs.network_path(folder, run.clock.seen).name.removeprefix("network-")
        for half_life, average in averages.items():
            facts = {**plan.facts, "kimg": run.clock.seen / 1000, "half_life": half_life}
            save_network(folder / f"average-{half_life:g}-{name}", family, {"G_ema": average.network}, facts)

    with reading({"data": plan.dataset}, config.pace, run, config.workers) as batches:
        fit(recipe, batches, run, config.pace, evaluate=keep)
    run.close()


main.params += flags(StyleGAN2Config)

if __name__ == "__main__":
    main()
