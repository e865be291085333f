"""What the loop asks of whatever is learned."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from models.sampler import Sampler
from training.draws import Draws
from training.phase import Phase, Term


class Recipe(Protocol):
    """Networks, the phases in which they learn, and the losses of each phase. Of any family."""

    @property
    def phases(self) -> Sequence[Phase]:
        """In the order in which they are taken."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """What a network file keeps, by name."""

    @property
    def sampler(self) -> Any:
        """The network that samples are made with."""

    def judged(self) -> Sampler | None:
        """The sampler of the pictures that metrics judge; None if the model makes no pictures."""

    def reals(self, images: Tensor, labels: Tensor) -> Any:
        """A batch for `losses` from images [n, C, H, W] in [-1, 1] and class numbers [n]."""

    def losses(self, phase: Phase, reals: Any, draws: Draws) -> Iterator[Term]:
        """Scalars to differentiate one after the other; `reals` is None for a phase that reads no images."""

    def after_step(self, seen: int) -> None:
        """What happens once an iteration; `seen` counts the images before it."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that learning changes, as a nest of tensors and numbers."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a `state_dict`, exactly."""
