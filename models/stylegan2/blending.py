"""Two generators blended into one, layer by layer.

A network that was trained from another keeps its features in the same places: low resolutions decide shape and pose,
high ones texture and color (Pinkney and Adler 2020, "Resolution Dependent GAN Interpolation"). The same share in all
layers is network interpolation (Wang et al. 2019). Layers have the numbers of their w: 0 is the smallest resolution,
2k - 1 and 2k the one after k doublings.
"""

from math import sqrt
from typing import NamedTuple

import torch

from imaging.sizes import spell
from models.stylegan2.config import GeneratorConfig
from models.stylegan2.generator import Generator

# Unrelated networks have a likeness of about 0. A network that was trained from another starts at 1.
STRANGERS = 0.1


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

    With c = first - 1/2, layer i has min(max((i - c) / (2 width) + 1/2, 0), 1), because a doubling has two layers. The
    width of the ramp is in doublings; 0 is a hard swap.
    """
    if width == 0:
        return [float(i >= first) for i in range(layers)]
    return [min(max((i - first + 0.5) / (2 * width) + 0.5, 0.0), 1.0) for i in range(layers)]


def likeness(a: Generator, b: Generator) -> float:
    """Cosine between the convolutions of two networks that pass `check`: near 1 if one was trained from the other."""
    dot = aa = bb = 0.0
    theirs = b.state_dict()
    for key, x in a.state_dict().items():
        if key.startswith("synthesis.") and key.endswith("conv.weight"):
            y = theirs[key]
            dot, aa, bb = dot + float((x * y).sum()), aa + float(x.square().sum()), bb + float(y.square().sum())
    return dot / sqrt(aa * bb) if aa and bb else 0.0


def check(a: GeneratorConfig, b: GeneratorConfig, mixed_mapping: bool) -> None:
    """Raise ValueError with the first difference if the blended parts of two networks differ in shape.

    `mixed_mapping` is True if their mapping networks are blended, too, and not one of them taken whole.
    """
    values: dict[str, tuple[object, object]] = {
        "the size of their images": (spell(a.height, a.width), spell(b.height, b.width)),
        **{f"generator.{name}": (getattr(a, name), getattr(b, name)) for name in ("channels", "w_dim", "architecture")},
    }
    for k in range(min(a.doublings, b.doublings) + 1):
        values[f"feature maps at {resolutions(a)[k]}"] = a.channels_at(k), b.channels_at(k)
    for what, (first, second) in values.items():
        if first != second:
            raise ValueError(
                f"networks that differ in {what}, {first} and {second}, cannot be blended: "
                f"blend a network with one that was trained from it"
            )
    for name in ("classes", "z_dim", "mapping_layers") if mixed_mapping else ():
        if getattr(a, name) != getattr(b, name):
            raise ValueError(
                f"mapping networks that differ in generator.{name}, {getattr(a, name)} and {getattr(b, name)}, cannot "
                f"be blended, so take that of A or B whole, --mapping a or b"
            )


@torch.no_grad()
def blend(a: Generator, b: Generator, shares: Shares) -> Generator:
    """The generator whose parameters are (1 - t) a + t b, with a share t for each layer.

    Stored noise would be fainter if averaged, so it comes from the network with the larger share; with equal shares,
    from the first. The networks must pass `check`.
    """
    if len(shares.layers) != a.config.num_ws - 1:
        raise ValueError(f"the networks have {a.config.num_ws - 1} layers, but there are {len(shares.layers)} shares")
    mine, theirs = a.state_dict(), b.state_dict()
    whole = b if shares.mapping == 1 else a  # whose mapping network has the shape of the result's
    state = {}
    for key in whole.state_dict():
        layer = layer_of(key)
        t = shares.mapping if layer is None else shares.layers[layer]
        t = float(t > 0.5) if key.endswith("noise.fixed") else t
        # Without arithmetic at the ends, which turns -0 into 0 and needs both tensors.
        state[key] = (theirs if t else mine)[key] if t in (0, 1) else mine[key].lerp(theirs[key], t)
    limits = a.config.clamp, b.config.clamp
    clamp = max(limits) if all(limits) else 0.0  # the looser limit; 0 means no limit
    G = Generator(whole.config.model_copy(update={"clamp": clamp}))
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
