"""What can be trained: everything that the engine has to know of a model, in one row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from imaging.imageset import ImageSet
from models.family import Family, Shape
from models.networkfile import NetworkFile
from torch_utils import config as configs
from training.config import RunConfig
from training.recipe import Recipe
from training.signs import Signs


class Asked(NamedTuple):
    """What a configuration is made from."""

    preset: str
    shape: Shape  # of the images
    given: Mapping[str, Any]  # settings by dotted name; they take precedence over the preset
    world: int = 1  # processes
    images: int | None = None  # in the data set, mirrored ones included; None: more than enough
    transfer: bool = False  # whether the run starts from a trained network
    others: Mapping[str, Shape] = {}  # of further image sets, by name


class Settled(NamedTuple):
    """A resolved configuration, and sentences to print about it."""

    config: RunConfig
    notes: tuple[str, ...] = ()


class Facts(NamedTuple):
    """What a recipe has to know of the images."""

    label_counts: Tensor  # images of each class, [classes]; empty without classes
    sets: Mapping[str, ImageSet] = {}  # as in `config.sets`; empty in dry runs, which keep no results
    resumed: bool = False  # whether a state replaces all weights after the recipe is built

    @classmethod
    def uniform(cls, classes: int) -> Self:
        """Equally many images of each class."""
        return cls(torch.ones(classes, device="cpu"))


class Transfer(NamedTuple):
    """How a run starts from a trained network."""

    check: Callable[[NetworkFile, Any], None]  # raises ValueError if the networks do not fit the configuration
    take: Callable[[NetworkFile, Any], str]  # loads the weights into a fresh recipe; returns a sentence for the log


def _check_same(file: NetworkFile, config: Any) -> None:
    for part in file.family.parts.values():
        wanted, held = configs.to_dict(getattr(config, part.config_name)), file.metadata.get(part.config_name)
        for name, value in wanted.items():
            found = held.get(name) if isinstance(held, dict) else None
            if held is not None and found != value:
                raise ValueError(
                    f"--transfer {file}: its {part.config_name} has {name} {found}, but this run's has {value}: take "
                    "another network, or settings like those it was trained with"
                )


def _take_same(file: NetworkFile, recipe: Any) -> str:
    parts, taken = file.family.parts, []
    for name, network in recipe.networks.items():
        alike = (other for other in file.parts if parts[other].config_name == parts[name].config_name)
        source = name if name in file.parts else next(alike, None)  # a light file has one of several averages
        if source is not None:
            network.load_state_dict(file.part(source).state_dict())
            taken.append(name)
    return f"the weights of {', '.join(taken)} are those of {file}"


SAME = Transfer(_check_same, _take_same)  # networks of the same sizes


@dataclass(frozen=True)
class Course:
    """Everything that the engine has to know of a model that can be trained."""

    title: str  # in sentences: "StyleGAN2"
    family: Family  # of its networks
    config: type[RunConfig]
    models: Mapping[str, Mapping[str, Any]]  # names for --model -> their settings
    settle: Callable[[Asked], Settled]  # raises ValueError
    recipe: Callable[[Any, Facts, torch.device], Recipe]  # of a configuration
    smallest: Callable[[Any], Any]  # a configuration with networks of next to nothing
    smaller: str  # what to try if memory is short
    signs: Signs = field(default_factory=Signs)
    transfer: Transfer | None = SAME  # None: --transfer is refused
    fits: Callable[[tuple[int, int]], str] = lambda size: ""  # why its networks cannot have images of (height, width)
