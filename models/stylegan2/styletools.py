"""The tools of a StyleGAN2 for the explorer: directions of w, and where pictures are in the plane of two of them.

Letters: N number of pictures, L layers, D width of w, K number of directions.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from models.sampler import Request
from models.stylegan2.composing import read_moves
from models.stylegan2.finding import draw, find_unlabeled, logistic, spread, style_matrix
from models.stylegan2.generator import Generator
from models.stylegan2.library import Library
from models.stylegan2.portrait import Portrait
from models.stylegan2.sampler import StyleSampler
from models.toolbox import DirectionFacts, Places

SAMPLES = 10_000  # seeds whose w show how w varies
CHUNKS = 10
SHORTEST = 1e-6  # of a combination, in units of w


class StyleTools:
    """A `Toolbox` of a StyleGAN2's sampler, with its directions in the file `path`."""

    def __init__(self, sampler: StyleSampler, path: Path) -> None:
        assert isinstance(sampler.G, Generator)
        self.sampler, self.G, self.library = sampler, sampler.G, Library(path, sampler.G)
        self._w: list[Tensor] = []
        self._groups: list[Tensor] = []

    @property
    def methods(self) -> dict[str, str]:
        """As of `Toolbox`: SeFa (Shen and Zhou 2021) and GANSpace (Härkönen et al. 2020)."""
        return {"sefa": "SeFa: what changes the styles most", "pca": "PCA: along what w varies most"}

    @property
    def everything(self) -> list[int]:
        """All layers."""
        return list(range(self.G.config.num_ws))

    def directions(self) -> list[DirectionFacts]:
        """As of `Toolbox`."""
        found = self.library.read()
        if found is None:
            return []
        starred, vectors = self.library.starred, found.vectors.double().T
        changes = torch.stack([(A @ vectors).norm(dim=0) / len(A) ** 0.5 for A in self._styles])  # [L, K]
        each = [[round(float(change), 4) for change in column] for column in (changes * found.scales).T]
        facts = [DirectionFacts(n, found.layers[k], n in starred, each[k]) for k, n in enumerate(found.names)]
        return sorted(facts, key=lambda each: not each.starred)

    def find(self, method: str, count: int) -> Iterator[float]:
        """As of `Toolbox`: by "sefa" or "pca", named sefa0, sefa1, ..."""
        for done, _ in enumerate(self._sampled(), start=1):
            yield done / (CHUNKS + 1)
        w, groups = torch.cat(self._w), torch.cat(self._groups)
        count = min(count, w.shape[1])
        vectors, _ = find_unlabeled(self.G, method, w, groups, count, self.everything)
        names = [f"{method}{k}" for k in range(count)]
        self.library.add(names, vectors, spread(w, groups, vectors), [self.everything] * count, again=True)
        yield 1.0

    def learn(self, name: str, more: Sequence[Request], less: Sequence[Request]) -> None:
        """As of `Toolbox`: the normal of logistic regression on the pictures' w."""
        if not more or not less:
            raise ValueError("mark pictures with more of it, and pictures with less: both kinds are needed")
        w = self.sampler.ws([*more, *less], psi=1).mean(dim=1).cpu().double()  # [N, D]
        labels = torch.tensor([1.0] * len(more) + [0.0] * len(less))
        self._keep(name, logistic(w, labels, torch.zeros(len(w), dtype=torch.long)), self.everything)

    def combine(self, name: str, steps: str) -> float:
        """As of `Toolbox`; it acts on all layers that one of the steps acts on."""
        found = self.library.read()
        moves = read_moves(steps, found, self.G.config.num_ws) if found else []
        if found is None or not moves:
            raise ValueError("move some sliders first: their steps together make the new direction")
        sizes = torch.tensor([m.strength * float(found.scales[m.place]) for m in moves], dtype=torch.float64)
        total = sizes @ found.vectors[[m.place for m in moves]].double()
        if total.norm() < SHORTEST:
            raise ValueError("the steps cancel out: move the sliders farther")
        layers = sorted({layer for m in moves for layer in m.layers or found.layers[m.place]})
        return float(total.norm()) / self._keep(name, total / total.norm(), layers)

    def change(self, name: str, new: str = "", starred: bool | None = None, remove: bool = False) -> None:
        """As of `Toolbox`."""
        if remove:
            self.library.remove(name)
        elif starred is not None:
            self.library.star(name, starred)
        else:
            self.library.rename(name, new)

    def search(self, pixels: Tensor, space: Literal["w", "w+"], steps: int) -> Portrait:
        """As of `Toolbox`."""
        return Portrait(self.G, pixels, space, steps)

    @torch.no_grad()
    def places(self, sampler: Any, requests: Sequence[Request], axes: tuple[str, str]) -> Places:
        """As of `Toolbox`: from the mean of all w, of the mean over a picture's layers."""
        found = self.library.read()
        if found is None:
            raise ValueError("there are no directions yet: find some first")
        list(self._sampled())
        ends = [found.place(name, "the map") for name in axes]
        frame, scales = found.vectors[ends].double(), found.scales[ends].double()  # [2, D], [2]
        w = sampler.map(sampler.latents(requests), requests).mean(dim=1).cpu().double()  # [N, D]
        points = (w - self._mean) @ frame.T / scales
        cosine = float(frame[0] @ frame[1])
        skew = cosine * float(scales[1] / scales[0]), cosine * float(scales[0] / scales[1])
        return Places([(round(float(x), 4), round(float(y), 4)) for x, y in points], skew)

    def _keep(self, name: str, vector: Tensor, layers: Sequence[int]) -> float:
        """Add a direction to the library; returns its scale."""
        list(self._sampled())
        scale = spread(torch.cat(self._w), torch.cat(self._groups), vector[None])
        self.library.add([name], vector[None], scale, [list(layers)])
        return float(scale)

    def _sampled(self) -> Iterator[None]:
        """Draw the w of `SAMPLES` seeds, once; yields after each of `CHUNKS` parts."""
        size = SAMPLES // CHUNKS
        for k in range(len(self._w), CHUNKS):
            requests = self.sampler.requests(range(k * size, (k + 1) * size))
            w, groups = draw(self.sampler, requests, watch=lambda chunks, total, label: chunks)
            self._w.append(w)
            self._groups.append(groups)
            yield

    @cached_property
    def _mean(self) -> Tensor:
        return torch.cat(self._w).mean(dim=0)

    @cached_property
    def _styles(self) -> list[Tensor]:
        """The affines that read each layer's w: [S, D] each."""
        return [style_matrix(self.G, [layer]) for layer in self.everything]
