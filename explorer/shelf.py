"""Networks to compare the shown one with: opened when they are asked for."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from explorer.studio import Asked, Studio, open_studio
from torch_utils.device import Precision, resolve_precision

MOST = 2**30  # bytes of the files whose networks stay in memory


class Placed(Asked):
    """A question with the network that its number stands for."""

    place: str
    values: dict[str, Any] = Field({})  # of options that the page cannot change
    chosen: Precision


class Shelf:
    """The networks that were asked for last, on a device. `threads` are those that were quickest for the shown one."""

    def __init__(self, device: str, threads: tuple[int | None, bool]) -> None:
        self.device, self.threads = torch.device(device), threads
        self._studios: OrderedDict[tuple[str, str], tuple[Studio, int]] = OrderedDict()

    def find(self, asked: Placed) -> tuple[Studio, Asked]:
        """The network of a question, and the question with those of its settings that the network has.

        Raises OSError or ValueError if the network cannot be opened.
        """
        studio = self._studio(asked)
        known = {control.name for control in studio.controls}
        options = {name: value for name, value in asked.state.options.items() if name in known}
        return studio, asked.model_copy(update={"state": asked.state.model_copy(update={"options": options})})

    def _studio(self, asked: Placed) -> Studio:
        key = (asked.place, asked.chosen)
        if key not in self._studios:
            resolve_precision(asked.chosen, self.device)
            studio = open_studio(asked.place, asked.values, self.device, asked.chosen, tried=False)
            studio.threads, studio.steady = self.threads
            path = Path(asked.place)
            self._studios[key] = studio, path.stat().st_size if path.is_file() else MOST // 3
            while len(self._studios) > 1 and sum(size for _, size in self._studios.values()) > MOST:
                self._studios.popitem(last=False)
        self._studios.move_to_end(key)
        return self._studios[key][0]
