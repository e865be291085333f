"""Dry-run training steps, to measure memory before a run starts. Results are discarded."""

from collections.abc import Callable
from itertools import islice
from typing import Any

import torch

from models.sampler import Shape
from torch_utils import distributed
from torch_utils.stats import Collector
from training.config import RunConfig
from training.course import Facts
from training.courses import find
from training.loop import rounds
from training.recipe import Pictures

ITERATIONS = 2  # the first one allocates the optimizers' moments, which the second one holds from its beginning
ROUNDS = 2  # the first one allocates gradients


def rehearse(
    config: RunConfig, share: int, device: torch.device, after: Callable[[str], None] = lambda phase: None
) -> Any:
    """Run every phase as training does, on networks of its own and black pictures, without other processes.

    It draws from PyTorch's global random generators.

    Args:
        config: resolved.
        share: images of the batch for this process.
        device: where to compute.
        after: called with the name of each phase after the phase.

    Returns:
        The recipe.
    """
    pace = config.pace.model_copy(update={"batch": share})
    with distributed.alone(), device:
        recipe = find(config.model).recipe(config, Facts.uniform(config.shape.classes), device)
        collector = Collector(device)
        sets = [_black(share, shape) for shape in config.shapes.values()]
        for iteration in range(ITERATIONS):
            count = min(share // pace.batch_gpu, ROUNDS if iteration else 1)
            for phase in recipe.phases:
                losses = rounds(recipe, phase, sets, pace, config.seed, iteration)
                phase.step(islice(losses, count), count, collector)
                after(phase.name)
            recipe.after_step(seen=0)
    return recipe


def _black(count: int, shape: Shape) -> Pictures:
    pixels = torch.zeros(count, shape.channels, shape.height, shape.width, dtype=torch.uint8)
    return Pictures(pixels, torch.zeros(count, dtype=torch.int64))
