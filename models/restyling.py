"""What a family offers to put pictures into the styles of others: `Restyler`, and the options that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from models.sampler import Options
from torch_utils.config import flag

MASKED = "with --mask: pixels over which regions blend"


class RestyleOptions(Options):
    """What a user may choose about restyled pictures. A family with options of its own derives a class."""

    alpha: float = flag(
        1.0, "--alpha", "Pictures", "strength of the style; 0 leaves the content", slider=(0, 1), ge=0, le=1
    )
    feather: float = flag(0.0, "--feather", "Pictures", MASKED, slider=(0, 64), ge=0, le=1000)


class Restyler(Protocol):
    """A network that puts pictures into the styles of others. Pictures are [1, 3, H, W] in [0, 1], of any sizes."""

    @property
    def options(self) -> type[RestyleOptions]:
        """The class of the options that it takes."""
        ...

    def adapts(self, options: Any) -> bool:
        """Whether what counts of a style depends on the content."""
        ...

    def measure(self, style: torch.Tensor, content: torch.Tensor, options: Any) -> Any:
        """What counts of a style, for one content."""
        ...

    def restyle(
        self,
        content: torch.Tensor,
        styles: Sequence[Any],
        shares: Sequence[float],
        masks: Sequence[torch.Tensor],
        options: Any,
    ) -> torch.Tensor:
        """A content in its styles, [1, 3, H, W], not clamped.

        Args:
            content: the picture.
            styles: what `measure` gave, one for each style.
            shares: without masks the weight of each style, with a sum of 1; with masks its strength, 0 to 1.
            masks: where each style is, [1, 1, H, W] in [0, 1]; empty for all styles everywhere.
            options: of the class `options`.
        """
        ...
