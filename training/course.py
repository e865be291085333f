"""What can be trained: everything that the engine has to know of a model, in one row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from imaging.imageset import Decoder, ImageSet, Latent
from models.family import Family, Shape
from models.networkfile import NetworkFile
from torch_utils import config as configs
from training import recipe as learning
from training.config import RunConfig
from training.signs import Signs

SLOW_DEVICES = ("cpu", "mps")


class Asked(NamedTuple):
    """What a configuration is made from."""

    preset: str
    shape: Shape  # of the images
    given: Mapping[str, Any]  # settings by dotted name; they take precedence over the preset
    world: int = 1  # processes
    images: int | None = None  # in the data set, mirrored ones included; None: more than enough
    transfer: bool = False  # whether the run starts from a trained network
    others: Mapping[str, Shape] = {}  # of further image sets, by name
    latent: Latent | None = None  # what the images are latents of

    @property
    def row(self) -> str:
        """The preset, but `small` for `auto` where a GPU is missing, unless a trained network gives the sizes."""
        small = self.preset == "auto" and self.given.get("device") in SLOW_DEVICES and not self.transfer
        return "small" if small else self.preset

    @property
    def row_notes(self) -> tuple[str, ...]:
        """A sentence about `row` where it is another than the preset."""
        why = "a short run, for there is no GPU here, that shows something within the hour"
        return () if self.row == self.preset else (f"--preset small: {why} (--preset full is meant for a GPU)",)


class Facts(NamedTuple):
    """What a recipe has to know of the images."""

    label_counts: torch.Tensor  # images of each class, [classes]; empty without classes
    sets: Mapping[str, ImageSet] = {}  # as in `config.sets`; empty in dry runs, which keep no results
    resumed: bool = False  # whether a state replaces all weights after the recipe is built


def check_same(file: NetworkFile, config: Any) -> None:
    for part in file.family.parts.values():
        wanted, held = configs.to_dict(getattr(config, part.config_name)), file.metadata.get(part.config_name) or {}
        others = [f"{name} {held[name]}" for name in held.keys() & wanted.keys() if held[name] != wanted[name]]
        if others:
            mend = "take another network, or settings like those it was trained with"
            raise ValueError(f"--transfer {file}: its {part.config_name} has {', '.join(others)}: {mend}")


def take_same(file: NetworkFile, recipe: Any) -> str:
    parts, taken = file.family.parts, []
    for name, network in recipe.networks.items():
        alike = (other for other in file.parts if parts[other].config_name == parts[name].config_name)
        source = name if name in file.parts else next(alike, None)  # a light file has one of several averages
        if source is not None:
            network.load_state_dict(file.part(source).state_dict())
            taken.append(name)
    return f"the weights of {', '.join(taken)} are those of {file}"


@dataclass(frozen=True)
class Course:
    """Everything that the engine has to know of a model that can be trained."""

    title: str  # in sentences: "StyleGAN2"
    family: Family  # of its networks
    config: type[RunConfig]
    models: Mapping[str, Mapping[str, Any]]  # names for --model -> their settings
    settle: Callable[[Asked], tuple[Any, tuple[str, ...]]]  # a configuration, and notes; raises ValueError
    recipe: Callable[[Any, Facts, torch.device], learning.Recipe]  # of a configuration
    smallest: Callable[[Any], Any]  # a configuration with networks of next to nothing
    smaller: str  # what to try if memory is short
    signs: Signs = field(default_factory=Signs)
    # How a run starts from a trained network; both default to networks of the same sizes.
    check_transfer: Callable[[NetworkFile, Any], None] = check_same  # raises ValueError unless a configuration fits
    take: Callable[[NetworkFile, Any], str] | None = take_same  # loads weights; None: --transfer is refused
    # What shows the latents of a configuration; ValueError if it cannot be opened. None: only pixels are learned.
    decoder: Callable[[Any, torch.device], Decoder | None] | None = None
    fits: Callable[[tuple[int, int]], str] = lambda size: ""  # why its networks cannot have images of (height, width)
