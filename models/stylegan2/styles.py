"""From seeds to pictures, the one way of every program that samples: seed -> z -> w -> image -> pixels.

The rounding of a convolution or a matrix product depends on how many samples it is computed for. A seed shall give
the same picture, byte for byte, in whatever company: so each goes through the mapping by itself, and through the
synthesis too unless the caller asks a GPU for more at once. A CPU is hardly faster with several.
Letters: C H W a picture, L number of w, D width of w.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from imaging.pixels import to_pixels
from models.stylegan2.generator import Generator, NoiseMode
from models.stylegan2.latents import seeds_to_z
from torch_utils.seeds import generator


class Sizes(Protocol):
    """What sampling must know of a generator."""

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


class Samplable(Protocol):
    """A generator of any family, as far as pictures are made with it."""

    @property
    def config(self) -> Sizes: ...
    @property
    def mapping(self) -> Mapping: ...
    def ws(
        self, z: Tensor, c: Tensor | None = None, truncation_psi: float = 1.0, truncation_cutoff: int | None = None
    ) -> Tensor: ...
    def synthesis(
        self, ws: Tensor, noise_mode: NoiseMode = "random", generator: torch.Generator | None = None
    ) -> Tensor: ...


def seeds_to_ws(
    G: Samplable,
    seeds: Sequence[int],
    classes: Sequence[int] | None = None,
    psi: float = 1.0,
    cutoff: int | None = None,
) -> Iterator[Tensor]:
    """The w of each seed for all layers, truncated: [L, D] on the generator's device, one after another.

    Args:
        G: the generator.
        seeds: 0 .. 2^32 - 1.
        classes: the class of each seed; None for a network without classes.
        psi: 1 for the full variety, towards 0 for the average image.
        cutoff: how many of the first w are truncated; None means all.

    Raises:
        ValueError: when classes are missing, uncalled for, or not the network's.
    """
    for seed, label in zip(seeds, classes if classes is not None else [None] * len(seeds), strict=True):
        z = seeds_to_z([seed], G.config.z_dim).to(_device(G))
        yield z_to_ws(G, z, _one_hot(G, label), psi, cutoff)[0]


def ws_to_pixels(
    G: Samplable,
    ws: Iterable[Tensor],
    seeds: Iterable[int],
    noise_mode: NoiseMode = "const",
    batch: int = 1,
    maps: Iterable[Sequence[Tensor]] | None = None,
) -> Iterator[Tensor]:
    """The picture of each w [L, D]: uint8 pixels [C, H, W] on the CPU, one after another.

    Args:
        G: the generator.
        ws: a w for every layer, one such for each picture.
        seeds: of each picture's noise, where that is random.
        noise_mode: `const`, `random` or `none`.
        batch: how many are computed at once on a GPU; more than 1 is faster, but rounds otherwise. A CPU, and random
            noise, take one at a time whatever is said here.
        maps: of each picture, noise in the place of the network's own: [1, H, W] for each layer.
    """
    device = _device(G)
    at_once = 1 if device.type == "cpu" or noise_mode == "random" else batch
    pairs, own = zip(ws, seeds, strict=True), iter(maps) if maps is not None else repeat(())
    while chunk := list(islice(pairs, at_once)):
        stacked = torch.stack([w for w, _ in chunk])  # [n, L, D]
        layers = [torch.stack(noise) for noise in zip(*islice(own, len(chunk)), strict=True)]  # [n, 1, H, W] each
        if maps is not None:
            assert isinstance(G, Generator)  # others take no noise of ours
            yield from _pixels_with_noise(G, stacked, layers)
        else:
            noise = generator(device, chunk[0][1], "noise") if noise_mode == "random" else None
            yield from _pixels(G, stacked, noise_mode, noise)


@torch.inference_mode()
def z_to_ws(G: Samplable, z: Tensor, c: Tensor | None, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
    """Latents [N, z_dim] and classes [N, classes], one-hot or between them -> w of all layers [N, L, D]."""
    return G.ws(z, c, psi, cutoff)


@torch.inference_mode()
def _pixels(G: Samplable, ws: Tensor, noise_mode: NoiseMode, noise: torch.Generator | None) -> Tensor:
    return to_pixels(G.synthesis(ws, noise_mode, noise), rounding="truncate").cpu()  # [N, C, H, W]


@torch.inference_mode()
def _pixels_with_noise(G: Generator, ws: Tensor, maps: Sequence[Tensor]) -> Tensor:
    return to_pixels(G.synthesis.with_noise(ws, maps), rounding="truncate").cpu()  # [N, C, H, W]


def _one_hot(G: Samplable, label: int | None) -> Tensor | None:
    if label is None:
        return None  # the mapping says so if it wants one
    if not 0 <= label < G.config.classes:
        raise ValueError(f"class {label} is none of this network's {G.config.classes} classes, counted from 0")
    return F.one_hot(torch.tensor([label], device=_device(G)), G.config.classes).float()


def _device(G: Samplable) -> torch.device:
    return G.mapping.w_average.device
