"""What a family offers to make pictures: `Sampler`, and the options, classes and random numbers that it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from models import graphs
from torch_utils import seeds


class Shape(NamedTuple):
    """The images that a network makes, takes or judges. Height and width are 0 if it takes images of any size."""

    height: int  # pixels
    width: int  # pixels
    channels: int
    classes: int  # 0 without classes

    @classmethod
    def of(cls, config: Any) -> Self:
        """The shape that a configuration or an image set with these four attributes states."""
        return cls(config.height, config.width, config.channels, config.classes)


class Options(BaseModel):
    """What a user may choose about a family's pictures. A family with options of its own derives a class.

    A field marked `opens`, a str with the default "", is the place of a second network, such as a classifier that
    guides the first. `models.families.open_sampler` hands it over under the name of the field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def unlike(self, usual: Options) -> dict[str, Any]:
        """The values, as JSON, of options that differ from those of `usual`."""
        others = usual.model_dump(mode="json")
        return {name: value for name, value in self.model_dump(mode="json").items() if value != others[name]}

    def check_still(self) -> None:
        """Raise ValueError if noise drawn on the way would make the pictures of a film flicker."""


@dataclass(frozen=True)
class SeedStream:
    """The random numbers of a picture of a seed, 0 .. 2^32 - 1; the first are numpy's, as in the official code."""

    seed: int

    def normal(self, *shape: int) -> torch.Tensor:
        """Normal numbers to start from, float32 on the CPU."""
        return torch.from_numpy(np.random.RandomState(self.seed).randn(*shape)).float()

    def generator(self, purpose: str, device: torch.device) -> torch.Generator:
        """A source of the random numbers that are drawn on the way."""
        return seeds.generator(device, self.seed, purpose)


@dataclass(frozen=True)
class NumberStream:
    """The random numbers of picture `number` of a series, such as the 50,000 that a metric looks at."""

    seed: int  # of the series
    room: str  # who draws: "metrics"
    number: int
    start: str = "z"  # purpose of `normal`; another one gives a second start for the same picture

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator(self.start, torch.device("cpu")))

    def generator(self, purpose: str, device: torch.device) -> torch.Generator:
        return seeds.generator(device, self.seed, self.room, purpose, self.number)


@dataclass(frozen=True)
class MixedStream:
    """The random numbers of a picture between seeds: its start is their weighted sum, scaled to a deviation of 1."""

    parts: tuple[tuple[int, float], ...]  # seeds, the most important one first, and their weights

    def __post_init__(self) -> None:
        if not any(weight for _, weight in self.parts):
            raise ValueError("the weights of all seeds are 0: give at least one seed a larger weight")

    def normal(self, *shape: int) -> torch.Tensor:
        """Normal numbers to start from, float32 on the CPU."""
        total = sum(SeedStream(seed).normal(*shape) * weight for seed, weight in self.parts)
        assert isinstance(total, torch.Tensor)
        return total / math.hypot(*(weight for _, weight in self.parts))

    def generator(self, purpose: str, device: torch.device) -> torch.Generator:
        """The first seed's source of the random numbers that are drawn on the way."""
        return SeedStream(self.parts[0][0]).generator(purpose, device)


Stream = SeedStream | MixedStream | NumberStream  # equal streams give equal pictures, whatever else is in the batch


class Request(NamedTuple):
    """One picture to make."""

    name: str  # of its file, without the ending: "seed0007"
    label: int | None  # its class
    stream: Stream
    classes: tuple[tuple[int, float], ...] = ()  # of a mixture of classes: each with its share; `label` has the largest


@runtime_checkable
class Sampler(Protocol):
    """A network that is ready to make pictures."""

    @property
    def shape(self) -> Shape: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def options(self) -> Any: ...
    @property
    def metadata(self) -> Mapping[str, Any]:
        """Of the network file that tells the names of the classes."""
        ...

    def requests(self, seeds: Sequence[int], label: int | None) -> list[Request]:
        """A request for each seed, of class `label`, or of classes that the sampler chooses."""
        ...

    def sample(self, requests: Sequence[Request], at_once: int = 1) -> Iterator[torch.Tensor]:
        """The pictures, uint8 [C, H, W] on the sampler's device, in order; `at_once` of them are computed together."""
        ...


@runtime_checkable
class Walkable(Sampler, Protocol):
    """A sampler with latents that can be changed little by little, which films need."""

    def latents(self, requests: Sequence[Request]) -> torch.Tensor:
        """Standard normal z [N, D]."""
        ...

    def map(self, z: torch.Tensor, requests: Sequence[Request]) -> torch.Tensor:
        """The latents w [N, ...] that pictures are made of, of z [N, D] and the requests' classes."""
        ...

    def render(self, ws: torch.Tensor, requests: Sequence[Request]) -> torch.Tensor:
        """Images [N, C, H, W] in about [-1, 1] of w; equal streams give equal noise."""
        ...

    def pictures(
        self, ws: Iterable[torch.Tensor], requests: Iterable[Request], at_once: int = 1
    ) -> Iterator[torch.Tensor]:
        """The same as pixels: uint8 [C, H, W] of w [...] and requests, made as they are asked for."""
        ...


@runtime_checkable
class Adjustable(Sampler, Protocol):
    """A sampler whose options can be changed without opening the network again."""

    def with_options(self, options: Any) -> Self:
        """A sampler of the same networks with other options, which name the same further networks and files."""
        ...


@runtime_checkable
class Blending(Sampler, Protocol):
    """A sampler whose pictures can be of several classes at once."""

    def of_classes(self, request: Request, parts: Sequence[tuple[int, float]]) -> Request:
        """The request with classes and their weights in place of its class. ValueError for an unfit class."""
        ...


@runtime_checkable
class Layered(Walkable, Protocol):
    """A walkable sampler whose latents have a part for each layer of the network: [N, layers, ...]."""

    @property
    def layers(self) -> int: ...
    @property
    def groups(self) -> Mapping[str, Sequence[int]]:
        """Names of layers that are often changed together, such as coarse ones."""
        ...


@runtime_checkable
class Emerging(Sampler, Protocol):
    """A sampler whose pictures come about in steps."""

    def emerging(self, request: Request) -> Iterator[tuple[float, torch.Tensor]]:
        """Share of the steps done and the picture after each, uint8 [C, H, W]; at 1 it is the picture of `sample`."""
        ...


@runtime_checkable
class Remembering(Sampler, Protocol):
    """A sampler that need not compute again what a picture has in common with the ones before."""

    def remembering(self) -> Self:
        """A sampler of the same networks that keeps parts of its last pictures; pictures are equal to the last bit."""
        ...


@runtime_checkable
class Portable(Sampler, Protocol):
    """A sampler whose network another engine than PyTorch can compute, from a graph."""

    def run_by(self, engine: Callable[[graphs.ExportGraph], graphs.Run]) -> Self:
        """A sampler of the same network, which `engine` computes. ValueError if the network cannot be exported."""
        ...


@runtime_checkable
class Straight(Walkable, Protocol):
    """A sampler whose paths are straight in w, not on great circles of z; perceptual path length needs one."""

    def in_float32(self) -> Self:
        """A copy that computes in float32."""
        ...


def learned_classes(metadata: Mapping[str, Any], classes: int) -> list[int]:
    """The numbers of the classes that a network was trained on, ascending: pictures of empty classes are noise.

    Returns all `classes` if the metadata do not count the images of each class.
    """
    data = metadata.get("data")
    counts = data.get("class_counts") if isinstance(data, dict) else None
    if not isinstance(counts, list) or len(counts) != classes or not all(isinstance(n, int) for n in counts):
        return list(range(classes))
    return [k for k, count in enumerate(counts) if count > 0] or list(range(classes))


def mixed(request: Request, parts: Sequence[tuple[int, float]]) -> Request:
    """The request of the first seed, with the picture between the seeds `parts` in its place."""
    return request._replace(name=f"mix{parts[0][0]:04d}", stream=MixedStream(tuple(parts)))


def blended(request: Request, parts: Sequence[tuple[int, float]], classes: int) -> Request:
    """The request with a mixture of some of `classes` classes, whose weights are scaled to a sum of 1."""
    total = math.fsum(weight for _, weight in parts)
    for label, weight in parts:
        if not 0 <= label < classes:
            raise ValueError(f"class {label}: this network has {classes} classes, counted from 0")
        if weight < 0 or total <= 0:
            raise ValueError(f"class {label} has the weight {weight:g}: expected weights from 0, and one above 0")
    shares = tuple((label, weight / total) for label, weight in parts if weight)
    return request._replace(label=max(shares, key=lambda part: part[1])[0], classes=shares)


def class_of(seed: int, label: int | None, learned: Sequence[int]) -> int | None:
    """The class of a seed's picture: `label`, or without it the learned classes in turn; None without classes."""
    return learned[seed % len(learned)] if label is None and learned else label
