"""The error of a trained network's gradients in a shorter number format, phase by phase."""

from collections import defaultdict
from math import sqrt
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from torch import Tensor

from torch_utils.cli import Command, option, progress, say
from torch_utils.flags import flags, given
from torch_utils.stats import Collector
from training import plan as plans
from training.phase import Phase
from training.recipe import Draws, Pictures
from training.session import build_recipe
from training.stylegan2.config import StyleGAN2Config
from training.stylegan2.course import take
from training.stylegan2.recipe import StyleGAN2

EXAMPLES = """
Examples:
  python -m benchmarks.stylegan2.rounding --network runs/00000-demo32-demo/network-000020.0.safetensors --preset demo
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option("--network", required=True, group="Measurement", help="a network with its discriminator, of this data set")
@option("--batches", type=click.IntRange(1), default=4, group="Measurement", help="batches to differentiate")
@option("--set", "sets", multiple=True, metavar="NAME=VALUE", group="Training", help="any other setting of train.py")
def main(network: str, batches: int, sets: tuple[str, ...], **params: Any) -> None:
    """Differentiate every phase of a trained network in float32 and in --precision (default bf16), on a CPU.

    Both see the same images, latents and weights. Path lengths are compared with their mean in the same batch.
    """
    values = given(StyleGAN2Config, params, sets) | {"device": "cpu", "loss.path_decay": 1.0}
    values.setdefault("precision", "bf16")
    recipes = []
    for precision in (values["precision"], "fp32"):
        plan = plans.begin(values | {"precision": precision}, Path("runs"), network)
        recipes.append(build_recipe(plan))
        assert plan.network is not None
        take(plan.network, recipes[-1])
    (low, exact), dataset = recipes, plan.dataset
    squares: dict[tuple[str, str], Tensor] = defaultdict(lambda: torch.zeros(2, dtype=torch.float64))
    for k in progress(range(batches), batches, "batches"):
        batch = low.config.pace.batch
        read = [dataset[(k * batch + i) % len(dataset)] for i in range(batch)]
        pixels = torch.stack([torch.as_tensor(picture) for picture, _ in read])
        labels = torch.tensor([label for _, label in read])
        for phases in zip(low.phases, exact.phases, strict=True):
            found, wanted = (
                _gradients(r, phase, pixels, labels, k) for r, phase in zip((low, exact), phases, strict=True)
            )
            for name, g in wanted.items():
                difference = (found[name] - g).double().square().sum()
                squares[phases[0].name, name] += torch.stack([difference, g.double().square().sum()])
    say(f"{values['precision'] + ' beside fp32':<16}  {'whole':>7}  {'typical':>8}")
    for phase in low.phases:
        whole, typical = error([tuple(s.tolist()) for (of, _), s in squares.items() if of == phase.name])
        say(f"{phase.name:<16}  {whole:7.1%}  {typical:8.1%}")


def _gradients(recipe: StyleGAN2, phase: Phase, pixels: Tensor, labels: Tensor, k: int) -> dict[str, Tensor]:
    """The gradients of a phase by parameter."""
    batch = len(pixels)
    reals = recipe.batch(Pictures(pixels, labels)) if phase.reads_images else None
    draws = Draws(recipe.config.seed, k, phase.name, batch, 0, batch, pixels.device)
    phase.differentiate([recipe.losses(phase, reals, draws)], 1, Collector(pixels.device))
    return {name: p.grad.clone() for name, p in phase.network.named_parameters() if p.grad is not None}


def error(squares: list[tuple[float, float]]) -> tuple[float, float]:
    """Distances of gradients from those in float32, relative to the latter: of all parameters together, and
    the median over parameters, as Adam steps as far for a small gradient as for a large one.

    `squares` are the squared distance and squared length for each parameter of a phase.
    """
    own = [(d, n) for d, n in squares if n > 0]
    return sqrt(sum(d for d, _ in own) / sum(n for _, n in own)), median(sqrt(d / n) for d, n in own)


main.params += flags(StyleGAN2Config)

if __name__ == "__main__":
    main()
