"""What the w of pictures are pulled towards when they are truncated."""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.stylegan2.centers import draw_ws, find_centers, nearest
from models.stylegan2.styles import Samplable
from torch_utils.cli import counted, say

SAMPLES = 10_000  # w that the centres are found from, of every class
MOST = 1000  # centres: ten samples of w to each


class Anchors:
    """The average of all w; or, of several centres in each class, the one nearest to a w.

    A conditional network has centres for each class by itself: its classes lie apart, and a w that is drawn to the
    centre of another class would change its own. They are found when the first w of the class comes.

    Args:
        G: the generator.
        count: how many centres in a class; None for the average.
    """

    def __init__(self, G: Samplable, count: int | None) -> None:
        self.count, self._G = count, G
        self._centers: dict[int | None, Tensor] = {}

    def of(self, ws: Tensor, labels: Sequence[int | None]) -> Tensor:
        """The anchor of each w [N, L, D] and its class (None without classes): [N, D]."""
        if self.count is None:
            return self._G.mapping.w_average.to(ws).expand(len(ws), -1)
        return torch.cat([nearest(w[None], self._of_class(label)) for w, label in zip(ws, labels, strict=True)])

    def _of_class(self, label: int | None) -> Tensor:
        if label not in self._centers:
            assert self.count is not None
            of_class = "" if label is None else f" of class {label}"
            self._centers[label] = find_centers(draw_ws(self._G, label, SAMPLES), self.count)
            say(f"found {counted(self.count, 'centre')} of {SAMPLES} w{of_class}")
        return self._centers[label]
