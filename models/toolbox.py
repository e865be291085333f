"""What a family offers to work on the latents of its pictures: `Toolbox`, for directions and places of pictures."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor

from models.sampler import Request


class DirectionFacts(NamedTuple):
    """A direction, as the explorer shows it."""

    name: str
    layers: Sequence[int]  # that it acts on unless others are given
    starred: bool
    changes: Sequence[float]  # how much a step of strength 1 changes the styles of each layer


class Places(NamedTuple):
    """Where pictures are in the plane of two directions, in units of their strengths."""

    points: Sequence[tuple[float, float]]
    # A step of 1 along the second direction changes the first place by skew[0], one along the first the second by
    # skew[1]; both are 0 for directions that are orthogonal.
    skew: tuple[float, float]


class Search(Protocol):
    """A search for the latents of a picture, which ends when its steps are done, or earlier."""

    def __iter__(self) -> Iterator[float]:
        """Take the steps; yields the share that is done after each."""
        ...

    def picture(self) -> Tensor:
        """The picture of the latents so far, uint8 [C, H, W]."""
        ...

    def likeness(self, picture: Tensor) -> float:
        """How near a picture is to the one that is searched for: PSNR in dB."""
        ...

    def tune(self, steps: int) -> Iterator[float]:
        """Train a copy of the network until the latents show the picture; yields the share that is done."""
        ...

    def network(self) -> Any:
        """The tuned copy."""
        ...

    def save(self, path: Path) -> None:
        """Write the latents to a file that the family's option for latents takes."""
        ...


class Toolbox(Protocol):
    """Tools for one network. Directions are kept in one file, by name; ValueError for a name that is unfit."""

    @property
    def methods(self) -> Mapping[str, str]:
        """Ways to find directions, in words."""
        ...

    def directions(self) -> list[DirectionFacts]:
        """The directions that are kept, those with a star first."""
        ...

    def find(self, method: str, count: int) -> Iterator[float]:
        """Find directions and keep them; yields the share that is done."""
        ...

    def learn(self, name: str, more: Sequence[Request], less: Sequence[Request]) -> None:
        """Keep the direction from pictures that have less of something to pictures that have more."""
        ...

    def combine(self, name: str, steps: str) -> float:
        """Keep the sum of steps, `smile:2;age:-1`, as one direction. Returns the strength that does the same."""
        ...

    def change(self, name: str, new: str = "", starred: bool | None = None, remove: bool = False) -> None:
        """Rename a direction, mark it with a star or without, or remove it."""
        ...

    def search(self, pixels: Tensor, space: Literal["w", "w+"], steps: int) -> Search:
        """The search for the latents of pixels uint8 [C, H, W]: one for all layers, or one for each."""
        ...

    def places(self, sampler: Any, requests: Sequence[Request], axes: tuple[str, str]) -> Places:
        """Where the pictures of requests are, as `sampler` makes them."""
        ...
