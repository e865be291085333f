"""The interface between the training loop and a model."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from models.sampler import Sampler
from training.draws import Draws
from training.moments import load_moments
from training.phase import Phase, Term
from training.sheet import Sheet

Network = TypeVar("Network", bound=nn.Module)


class Pictures(NamedTuple):
    """A part of a batch, from one image set."""

    pixels: Tensor  # uint8 [n, C, H, W]
    labels: Tensor  # class numbers, int64 [n]; 0 without classes


class Recipe(Protocol):
    """A model in training: its networks, the phases in which they learn, and the losses of each phase."""

    @property
    def phases(self) -> Sequence[Phase]:
        """All phases, in the order of their steps."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The networks of a network file, by name."""

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """The optimizer of each network that learns, by the name of the network."""

    def batch(self, *sets: Pictures) -> Any:
        """Convert pictures, one part from each image set, to the form that `losses` takes."""

    def judged(self) -> Sampler | None:
        """The sampler of the pictures that metrics judge; None if the model makes no pictures."""

    def losses(self, phase: Phase, batch: Any, draws: Draws) -> Iterator[Term]:
        """Yield scalars to differentiate one after the other; `batch` is None for a phase that reads no images."""

    def after_step(self, seen: int) -> None:
        """Update averages and the like, once an iteration; `seen` counts the images before the iteration."""

    def show(self, sheet: Sheet) -> Iterator[Tensor] | None:
        """The pictures of a sample sheet, uint8 [C, H, W] on the CPU, row by row; None if the model makes none."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that learning changes, as a nest of tensors and numbers."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict` exactly."""


@runtime_checkable
class Measuring(Protocol):
    """A recipe that judges itself at snapshots, on images that it does not learn from."""

    def measure(self) -> Mapping[str, float]:
        """Statistics for the report, such as {"held out/style": 0.3}. Only rank 0 calls it."""


def placed(network: Network, device: torch.device) -> Network:
    """The network on the device, with parameters that need no gradients until a phase begins."""
    if any(parameter.device != device for parameter in network.parameters()):
        network = network.to(device)  # fails for fake tensors, which are on the device already
    return network.requires_grad_(False)


def learned(recipe: Recipe) -> dict[str, Any]:
    """The part of a `state_dict` that all recipes have: networks, moments, skipped steps."""
    return {
        "networks": {name: dict(network.state_dict()) for name, network in recipe.networks.items()},
        "optimizers": {name: optimizer.state_dict()["state"] for name, optimizer in recipe.optimizers.items()},
        "skips": {phase.name: phase.skips for phase in recipe.phases},
    }


def load_learned(recipe: Recipe, state: Mapping[str, Any]) -> None:
    """Restore a state that `learned` returned. The recipe shares no memory with `state` afterwards."""
    for name, network in recipe.networks.items():
        network.load_state_dict(state["networks"][name])
    for name, optimizer in recipe.optimizers.items():
        load_moments(optimizer, state["optimizers"][name])
    for phase in recipe.phases:
        phase.skips = state["skips"][phase.name].to(phase.skips.device, copy=True)
