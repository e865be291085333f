"""Pictures and films of w that moves along directions."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from PIL import Image
from torch import Tensor

from imaging.grid import save_image, sheet, tile
from models.sampler import Request
from models.stylegan2.directions import Directions
from sampling.command import Opened
from sampling.stylegan2.pictures import draw_pictures, in_rows, signed, styles
from torch_utils.cli import counted


class Walk:
    """Steps from the w of some pictures along directions, in `layers` or each direction's own."""

    def __init__(
        self,
        opened: Opened,
        requests: Sequence[Request],
        directions: Directions,
        chosen: Sequence[int],
        layers: Sequence[int] | None = None,
    ) -> None:
        self.opened, self.directions, self.chosen, self.layers = opened, directions, chosen, layers
        self.starts = [(request, styles(opened).ws([request])) for request in requests]  # w [1, L, D]

    def write_sheets(self, strengths: Sequence[float], singly: bool) -> str:
        """Write a sheet for each picture, a row for each direction and a column for each strength.

        `singly` writes each picture by itself, too. Returns what was written, in words.
        """
        columns, labels = [signed(strength) for strength in strengths], [self.directions.names[k] for k in self.chosen]
        steps = [(k, strength) for k in self.chosen for strength in strengths]
        ws = (self._moved(ws, *step) for _, ws in self.starts for step in steps)
        requests = [request for request, _ in self.starts for _ in steps]
        names = [f"{r.name}-{label}{column}" for r, _ in self.starts for label in labels for column in columns]
        made = draw_pictures(self.opened, ws, requests, names if singly else [""] * len(names))
        for request, _ in self.starts:
            rows = in_rows(list(islice(made, len(steps))), len(columns))
            save_image(sheet(rows, labels, columns), self.opened.outdir / f"directions-{request.name}.png")
        list(made)  # ends the progress bar
        sheets = counted(len(self.starts), "sheet")
        return f"{counted(len(names), 'picture')}, {sheets}" if singly else sheets

    def frames(self, strengths: Sequence[float], count: int) -> Iterator[Image.Image]:
        """A film from the smallest strength to the largest and back, which ends where it begins.

        A frame has a row for each direction and a column for each picture.
        """
        cells = [(request, ws, k) for k in self.chosen for request, ws in self.starts]
        path = swing(min(strengths), max(strengths), count)
        moved = (self._moved(ws, k, strength) for strength in path for _, ws, k in cells)
        requests = (request for _ in path for request, _, _ in cells)
        made = styles(self.opened).pictures(moved, requests, self.opened.at_once)
        for _ in path:
            yield tile(torch.stack([next(made) for _ in cells]), len(self.starts))

    def _moved(self, ws: Tensor, k: int, strength: float) -> Tensor:
        return self.directions.step(k, strength, ws, self.layers)[0]


def swing(low: float, high: float, count: int) -> list[float]:
    """`count` values of a pendulum that starts from `low`: middle - amplitude cos(2 pi t / count)."""
    middle, amplitude = (low + high) / 2, (high - low) / 2
    return [middle - amplitude * math.cos(2 * math.pi * t / count) for t in range(count)]
