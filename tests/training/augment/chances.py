"""Chances that are said instead of drawn."""

import torch
from torch import Tensor

from training.augment.chances import CATEGORIES, Drawn
from training.augment.pipeline import Augmentation
from training.recipe import Draws

CPU = torch.device("cpu")
ALL = frozenset(name for names in CATEGORIES.values() for name in names)


class Said(Drawn):
    """Every transformation is made, and every number is the percentile q, except those that `said` names."""

    def __init__(self, q: float, count: int, said: dict[str, float] | None = None) -> None:
        self.q, self.count, self.said = q, count, said or {}

    def uniform(self, name: str) -> Tensor:
        return torch.full([self.count], self.said.get(name, self.q))

    def normal(self, name: str) -> Tensor:
        return torch.erfinv(2 * self.uniform(name) - 1)

    def grain(self, shape: torch.Size) -> Tensor:
        return torch.full(shape, self.q)

    def where(self, transformation: str, p: Tensor, values: Tensor) -> Tensor:
        return values


def drawn(batch: int, start: int = 0, stop: int | None = None, iteration: int = 0) -> Drawn:
    return Drawn(Draws(0, iteration, "Dmain", batch, start, batch if stop is None else stop, CPU), "real")


def augmented(images: Tensor, chances, p: float = 1.0, names: frozenset[str] | set[str] = ALL) -> Tensor:
    height, width = images.shape[2:]
    make = Augmentation(frozenset(names), height, width, CPU)
    return make(images, torch.tensor(p), chances)
