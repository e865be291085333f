"""Dry-run training steps, to measure memory before a run starts. Results are discarded."""

from collections.abc import Callable
from itertools import islice

import torch

from torch_utils import distributed
from torch_utils.stats import Collector
from training.loop import rounds
from training.recipe import Pictures
from training.stylegan2.config import StyleGAN2Config
from training.stylegan2.recipe import StyleGAN2

ITERATIONS = 2  # Adam's memory comes into being in the first, and is there from the beginning in the second
ROUNDS = 2  # gradients come into being in the first of several rounds


def rehearse(
    config: StyleGAN2Config, share: int, device: torch.device, after: Callable[[str], None] = lambda phase: None
) -> StyleGAN2:
    """Takes every phase in its turn, as training does, with networks of its own and black pictures.

    It draws from PyTorch's own random numbers, and other processes take no part.

    Args:
        config: resolved.
        share: what this process has of the batch.
        device: where to compute.
        after: is called after every phase, with its name.

    Returns:
        The recipe, for a look at what it holds.
    """
    pace, G = config.pace.model_copy(update={"batch": share}), config.generator
    with distributed.alone(), device:
        recipe, collector = StyleGAN2(config, torch.ones(G.classes), device), Collector(device)
        pixels = torch.zeros(share, G.channels, G.height, G.width, dtype=torch.uint8)
        sets = [Pictures(pixels, torch.zeros(share, dtype=torch.int64))]
        for iteration in range(ITERATIONS):
            count = min(share // pace.batch_gpu, ROUNDS if iteration else 1)
            for phase in recipe.phases:
                losses = rounds(recipe, phase, sets, pace, config.seed, iteration)
                phase.step(islice(losses, count), count, collector)
                after(phase.name)
            recipe.after_step(seen=0)
    return recipe
