"""What sampling needs of a generator with styles, as protocols."""

from typing import Protocol, Self

import torch
from torch import Tensor

from models.stylegan2.generator import NoiseMode
from torch_utils.device import Precision


class Sizes(Protocol):
    """Sizes of a generator."""

    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def classes(self) -> int: ...
    @property
    def z_dim(self) -> int: ...
    @property
    def w_dim(self) -> int: ...
    @property
    def num_ws(self) -> int: ...


class Mapping(Protocol):
    """f: z -> w, with the average w."""

    @property
    def w_average(self) -> Tensor: ...
    def __call__(self, z: Tensor, c: Tensor | None = None) -> Tensor: ...


class Synthesis(Protocol):
    """g: ws [N, L, D] -> images [N, C, H, W], about [-1, 1]."""

    def __call__(
        self, ws: Tensor, noise_mode: NoiseMode = "random", generator: torch.Generator | None = None
    ) -> Tensor: ...
    def noises(self, batch: int, mode: NoiseMode, generator: torch.Generator | None) -> list[Tensor | None]: ...
    def render(self, ws: Tensor, noises: list[Tensor | None]) -> Tensor: ...


class Samplable(Protocol):
    """A generator with styles: StyleGAN2's own, or that of another program."""

    @property
    def config(self) -> Sizes: ...
    @property
    def mapping(self) -> Mapping: ...
    def ws(
        self, z: Tensor, c: Tensor | None = None, truncation_psi: float = 1.0, truncation_cutoff: int | None = None
    ) -> Tensor: ...
    @property
    def synthesis(self) -> Synthesis: ...
    def set_precision(self, precision: Precision) -> Self: ...
    def fold(self) -> Self: ...
