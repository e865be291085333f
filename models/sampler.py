"""What a family offers where pictures are asked for: `Sampler`, and the random numbers and options that it takes."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, Self

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor


class Shape(NamedTuple):
    """The images that a network makes, takes or judges."""

    height: int  # pixels
    width: int  # pixels
    channels: int
    classes: int  # 0 without classes

    @classmethod
    def of(cls, config: Any) -> Self:
        """The shape that a configuration with these four attributes states."""
        return cls(config.height, config.width, config.channels, config.classes)


class Options(BaseModel):
    """What a user may choose about a family's pictures. A family with options of its own derives a class."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Stream(Protocol):
    """The random numbers of one picture. Equal streams give equal pictures, whatever is computed beside them."""

    def normal(self, *shape: int) -> Tensor:
        """Normal numbers to start from, float32 on the CPU."""
        ...

    def generator(self, purpose: str, device: torch.device) -> torch.Generator:
        """A source of the random numbers that are drawn on the way."""
        ...


class Request(NamedTuple):
    """One picture to make."""

    name: str  # of its file, without the ending: "seed0007"
    label: int | None  # its class
    stream: Stream


class Sampler(Protocol):
    """A network that is ready to make pictures."""

    @property
    def shape(self) -> Shape: ...
    @property
    def device(self) -> torch.device: ...
    def requests(self, seeds: Sequence[int], label: int | None) -> list[Request]:
        """A request for each seed, of class `label`, or of classes that the sampler chooses."""
        ...

    def sample(self, requests: Sequence[Request], at_once: int = 1) -> Iterator[Tensor]:
        """The pictures, uint8 [C, H, W] on the CPU, in order; `at_once` of them are computed together."""
        ...
