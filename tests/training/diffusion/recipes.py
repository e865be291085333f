"""The smallest denoising networks in training, for tests."""

import dataclasses
from typing import Any

import torch

from models.family import Shape
from training import courses
from training.course import Asked, Facts
from training.diffusion.config import DiffusionConfig
from training.diffusion.recipe import Labeled, Learning
from training.recipe import Draws

CPU = torch.device("cpu")
ALIKE = {"device": "cpu", "precision": "fp32", "pace.batch": 8}
SMALL = {"model_channels": 8, "mult": (1, 2), "res_blocks": 1, "groups": 4, "head_channels": 0}
SMALLEST: dict[str, dict[str, Any]] = {
    "dit-ti/4": {"denoiser.hidden": 16, "denoiser.depth": 2, "denoiser.heads": 2},
    "adm": {f"denoiser.{name}": value for name, value in SMALL.items()},
    "noise-classifier": {f"classifier.{name}": value for name, value in SMALL.items()},
}


def settled(
    model: str, preset: str = "auto", side: int = 16, classes: int = 0, world: int = 1, **given: Any
) -> tuple[DiffusionConfig, tuple[str, ...]]:
    """The configuration and the notes of a run; `pace__kimg=1` says `pace.kimg`."""
    course = courses.find(model)
    values = {"device": "cuda", "precision": "fp32"} | {name.replace("__", "."): value for name, value in given.items()}
    return course.settle(
        Asked(preset, Shape(side, side, 3, classes), {**course.models[model], "model": model, **values}, world)
    )


def recipe(model: str = "dit-ti/4", classes: int = 0, **given: Any) -> Any:
    """A recipe with the smallest network; its output is random, not 0, if `awake` is called on it."""
    told: dict[str, Any] = {**ALIKE, **SMALLEST[model], **given}
    config, _ = settled(model, classes=classes, **told)
    torch.manual_seed(0)
    return courses.find(model).recipe(config, Facts(torch.ones(classes)), CPU)


def awake(learning: Learning) -> Learning:
    """The same with no weight at 0, so that every parameter has a gradient."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in learning.network.parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.normal_(std=0.1)
    return learning


def batch(count: int = 8, classes: int = 0, side: int = 16) -> Labeled:
    """Smooth pictures: a color each, and a gradient."""
    generator = torch.Generator().manual_seed(2)
    colors = torch.rand(count, 3, 1, 1, generator=generator) * 1.6 - 0.8
    images = (colors + torch.linspace(-0.2, 0.2, side)).expand(count, 3, side, side).contiguous()
    return Labeled(images, torch.arange(count) % max(classes, 1))


def draws(count: int = 8, start: int = 0, stop: int | None = None, iteration: int = 0, seed: int = 0) -> Draws:
    whole = Draws(seed, iteration, "denoise", count, 0, count, CPU)
    return dataclasses.replace(whole, start=start, stop=count if stop is None else stop)


def gradients(learning: Learning, data: Labeled, iteration: int = 0, rounds: int = 1) -> dict[str, torch.Tensor]:
    """The gradients of a batch by the name of the parameter, averaged over rounds."""
    (phase,) = learning.phases
    size = len(data.images) // rounds
    parts = range(0, len(data.images), size)
    phase.differentiate(
        (
            learning.losses(
                phase,
                Labeled(*(t[i : i + size] for t in data)),
                draws(len(data.images), i, i + size, iteration),
            )
            for i in parts
        ),
        rounds,
    )
    return {name: p.grad.clone() for name, p in learning.network.named_parameters() if p.grad is not None}
