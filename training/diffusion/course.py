"""The rows of denoising networks and classifiers of noisy pictures in the table of what can be trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from models.adm import family as adm
from models.diffusion import codec as codecs
from models.dit import family as dit
from models.dit.config import named_sizes
from torch_utils.config import build
from training.config import check_rounds, share_of
from training.course import Asked, Course
from training.diffusion import presets
from training.diffusion import recipe as learning
from training.diffusion.config import ClassifierRun, DenoisingConfig, DiffusionConfig, DiTRun, UNetRun
from training.diffusion.signs import CLASSIFYING, DENOISING


def _settle(kind: type[DiffusionConfig], part: str, asked: Asked) -> tuple[DiffusionConfig, tuple[str, ...]]:
    """The resolved configuration of a run. Raises ValueError for settings that do not fit."""
    shape = {**asked.shape._asdict(), "latent": asked.latent}
    for name, value in shape.items():
        if asked.given.get(f"{part}.{name}", value) != value:
            raise ValueError(f"--set {part}.{name} comes from the data, where it is {value}: leave it out")
    if kind is ClassifierRun and not asked.shape.classes:
        raise ValueError("--model noise-classifier needs data with classes: give --labels folders, or other data")
    values = presets.resolve(kind, part, asked) | {f"{part}.{name}": value for name, value in shape.items()}
    if (codec := values.get("sampling.codec")) and asked.latent is None:
        raise ValueError(f"--codec {codec} applies to latents, and the data are pictures: leave it out")
    share = share_of(values["pace.batch"], asked.world)
    config = build(kind, values | {"pace.batch_gpu": 1})
    at_once = asked.given.get("pace.batch_gpu") or presets.at_once(config.network, share)
    check_rounds(at_once, share, values["pace.batch"])
    pace = config.pace.model_copy(update={"batch_gpu": at_once})
    return config.model_copy(update={"pace": pace}), presets.notes(config, asked)


def _smallest_dit(config: DiTRun) -> DiTRun:
    small = {"hidden": 8, "depth": 1, "heads": 1}
    return config.model_copy(update={"denoiser": config.denoiser.model_copy(update=small)})


def _smallest_trunk(part: str) -> Callable[[Any], Any]:
    small = {"model_channels": 8, "mult": (1,), "res_blocks": 1, "attention": (), "groups": 8, "heads": 1}
    small |= {"head_channels": 0}
    return lambda config: config.model_copy(update={part: getattr(config, part).model_copy(update=small)})


def decoder(config: Any, device: torch.device) -> codecs.Codec | None:
    """What sheets and metrics of latents are decoded with. Raises ValueError if it does not fit, or is missing."""
    if isinstance(config, DenoisingConfig) and config.sampling.codec:
        return codecs.open_codec(config.sampling.codec, device).of(config.network)
    if config.metrics != "none":
        raise ValueError(f"--metrics {config.metrics} looks at pictures: give --codec, or --metrics none")
    return None


DIT = Course(
    title="DiT",
    family=dit.FAMILY,
    config=DiTRun,
    models={name: {f"denoiser.{key}": value for key, value in size.items()} for name, size in named_sizes().items()},
    settle=lambda asked: _settle(DiTRun, "denoiser", asked),
    recipe=lambda config, facts, device: learning.Denoising(config, facts, device),
    smallest=_smallest_dit,
    smaller="a smaller --model, such as dit-ti/4",
    signs=DENOISING,
    decoder=decoder,
)

ADM = Course(
    title="ADM",
    family=adm.FAMILY,
    config=UNetRun,
    models={"adm": {}},
    settle=lambda asked: _settle(UNetRun, "denoiser", asked),
    recipe=lambda config, facts, device: learning.Denoising(config, facts, device),
    smallest=_smallest_trunk("denoiser"),
    smaller="a smaller network: --set denoiser.model_channels=64",
    signs=DENOISING,
    decoder=decoder,
)

CLASSIFIER = Course(
    title="noise classifier",
    family=adm.CLASSIFIER,
    config=ClassifierRun,
    models={"noise-classifier": {}},
    settle=lambda asked: _settle(ClassifierRun, "classifier", asked),
    recipe=lambda config, facts, device: learning.Classifying(config, facts, device),
    smallest=_smallest_trunk("classifier"),
    smaller="a smaller network: --set classifier.model_channels=64",
    signs=CLASSIFYING,
    decoder=decoder,
)

COURSES = (DIT, ADM, CLASSIFIER)
