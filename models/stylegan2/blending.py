"""Two generators blended into one, layer by layer.

A network that was trained from another keeps its features in the same places, so their layers can be exchanged: low
resolutions decide shape and pose, high ones texture and color (Pinkney and Adler 2020, "Resolution Dependent GAN
Interpolation"). The same share of one network in all layers is network interpolation (Wang et al. 2019).
Layers have the numbers of their w: 0 is the smallest resolution, 2k - 1 and 2k the one after k doublings. A block's RGB
layer belongs to the block's last convolution.
"""

from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from imaging.sizes import spell
from models.stylegan2.config import GeneratorConfig
from models.stylegan2.generator import Generator

# Unrelated networks have a likeness of about 0. A network that was trained from another starts at 1.
STRANGERS = 0.1


class MappingError(ValueError):
    """Two mapping networks cannot be blended; either can be taken whole."""


class Shares(NamedTuple):
    """Shares of the second network, from 0 to 1."""

    layers: list[float]  # of the synthesis, num_ws - 1 numbers
    mapping: float  # in the mapping network and its average w


def resolutions(config: GeneratorConfig) -> list[int]:
    """The longer side of each block's image, smallest first."""
    return [max(config.size_at(k)) for k in range(config.doublings + 1)]


def first_layer(config: GeneratorConfig, side: int) -> int:
    """The first layer of the block with this longer side. Raise ValueError with all sides if there is no such block."""
    sides = resolutions(config)
    if side not in sides:
        raise ValueError(f"{side} is none of the network's resolutions, {', '.join(map(str, sides))}")
    return max(2 * sides.index(side) - 1, 0)


def ramp(layers: int, first: int, width: float = 0.0) -> list[float]:
    """The share of the second network in each layer: 0 before `first`, 1 from there on, or a linear ramp between.

    With c = first - 1/2, layer i has min(max((i - c) / (2 width) + 1/2, 0), 1), because a doubling has two layers.

    Args:
        layers: number of layers.
        first: layer from which the second network takes over.
        width: of the ramp, in doublings; 0 is a hard swap.
    """
    if width == 0:
        return [float(i >= first) for i in range(layers)]
    return [min(max((i - first + 0.5) / (2 * width) + 0.5, 0.0), 1.0) for i in range(layers)]


def likeness(a: Generator, b: Generator) -> float:
    """Cosine between the weights of two networks' convolutions: near 1 if one was trained from the other.

    The networks must pass `check`.
    """
    dot = aa = bb = 0.0
    theirs = b.state_dict()
    for key, x in a.state_dict().items():
        if key.startswith("synthesis.") and key.endswith("conv.weight"):
            y = theirs[key]
            dot, aa, bb = dot + float((x * y).sum()), aa + float(x.square().sum()), bb + float(y.square().sum())
    return dot / sqrt(aa * bb) if aa and bb else 0.0


def check(a: GeneratorConfig, b: GeneratorConfig, mixed_mapping: bool) -> None:
    """Raise ValueError with the first difference if the blended parts of two networks differ in shape.

    Args:
        a, b: the networks.
        mixed_mapping: True if their mapping networks are blended, too, and not one of them taken whole.
    """
    values: dict[str, tuple[object, object]] = {
        "the size of their images": (spell(a.height, a.width), spell(b.height, b.width)),
        "generator.channels": (a.channels, b.channels),
        "generator.w_dim": (a.w_dim, b.w_dim),
        "generator.architecture": (a.architecture, b.architecture),
    }
    for k in range(min(a.doublings, b.doublings) + 1):
        values[f"feature maps at {resolutions(a)[k]}"] = a.channels_at(k), b.channels_at(k)
    for what, (first, second) in values.items():
        if first != second:
            raise ValueError(_cannot("networks", what, first, second))
    for name in ("classes", "z_dim", "mapping_layers") if mixed_mapping else ():
        if getattr(a, name) != getattr(b, name):
            raise MappingError(_cannot("mapping networks", f"generator.{name}", getattr(a, name), getattr(b, name)))


def _cannot(things: str, what: str, a: object, b: object) -> str:
    return f"{things} that differ in {what}, {a} and {b}, cannot be blended"


@torch.no_grad()
def blend(a: Generator, b: Generator, shares: Shares) -> Generator:
    """The generator whose parameters are (1 - t) a + t b, with a share t for each layer.

    With t 0 or 1 they equal those of one network bit for bit. Stored noise would be fainter if averaged, so it comes
    from the network with the larger share; with equal shares, from the first. The networks must pass `check`.
    """
    if len(shares.layers) != a.config.num_ws - 1:
        raise ValueError(f"the networks have {a.config.num_ws - 1} layers, but there are {len(shares.layers)} shares")
    mine, theirs = a.state_dict(), b.state_dict()
    whole = b if shares.mapping == 1 else a  # whose mapping network has the shape of the result's
    state = {}
    for key in whole.state_dict():
        layer = layer_of(key)
        t = shares.mapping if layer is None else shares.layers[layer]
        state[key] = _between(mine, theirs, key, float(t > 0.5) if key.endswith("noise.fixed") else t)
    G = Generator(whole.config.model_copy(update={"clamp": _clamp(a.config.clamp, b.config.clamp)}))
    G.load_state_dict(state)
    return G.requires_grad_(False).eval()


def layer_of(key: str) -> int | None:
    """The layer of a tensor of a generator's state; None for the mapping network's."""
    part, *rest = key.split(".")
    if part != "synthesis":
        return None
    if rest[0] == "const":
        return 0
    _, k, name, *_ = rest
    return 2 * int(k) - 1 if name in ("conv0", "skip") else 2 * int(k)


def _between(a: dict[str, Tensor], b: dict[str, Tensor], key: str, t: float) -> Tensor:
    if t in (0, 1):
        return (b if t else a)[key]  # without arithmetic, which turns -0 into 0 and needs both
    return a[key].lerp(b[key], t)


def _clamp(a: float, b: float) -> float:
    """The looser of two limits; 0 means no limit."""
    return max(a, b) if a and b else 0.0
