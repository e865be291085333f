"""Two generators blended into one: layers of the one, layers of the other, and a smooth way between.

Networks that come from one another, by transfer, keep each other's features in each other's places, so that layers can
be exchanged: low resolutions decide shape and pose, high ones texture and colour (Pinkney and Adler 2020, "Resolution
Dependent GAN Interpolation for Controllable Image Synthesis Between Domains"). The same share of one network in all
layers is network interpolation (Wang et al. 2019, "Deep Network Interpolation for Continuous Imagery Effect
Transition").
Layers are numbered as the w that drive them: 0 belongs to the smallest resolution, 2k - 1 and 2k to that after k
doublings. A block's RGB layer reads what its last convolution makes, and goes with that one.
"""

from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from imaging.sizes import spell
from models.stylegan2.config import GeneratorConfig
from models.stylegan2.generator import Generator

# Networks that have nothing to do with each other have a likeness of 0, give or take one over the root of the number of
# their weights; one that was trained from the other begins at 1, and learns in small steps.
STRANGERS = 0.1


class MappingError(ValueError):
    """Two mapping networks that cannot be blended; either can be taken whole."""


class Shares(NamedTuple):
    """How much of the second network there is, from 0 to 1."""

    layers: list[float]  # of the synthesis, num_ws - 1 numbers
    mapping: float  # in the mapping network and its average w


def resolutions(config: GeneratorConfig) -> list[int]:
    """The longer side of each block's image, from the smallest on."""
    return [max(config.size_at(k)) for k in range(config.doublings + 1)]


def first_layer(config: GeneratorConfig, side: int) -> int:
    """The first layer of the block whose longer side this is.

    Raises:
        ValueError: when the network has no such block, naming those it has.
    """
    sides = resolutions(config)
    if side not in sides:
        raise ValueError(f"{side} is none of the network's resolutions, {', '.join(map(str, sides))}")
    return max(2 * sides.index(side) - 1, 0)


def ramp(layers: int, first: int, width: float = 0.0) -> list[float]:
    """The share of the second network in each layer: 0 before `first`, 1 from there on, or a straight way between.

    With c = first - 1/2, the place between the last layer of the one and the first of the other, layer i has

        min(max((i - c) / (2 width) + 1/2, 0), 1)

    for a doubling has two layers.

    Args:
        layers: how many there are.
        first: where the second network takes over.
        width: of the way, in doublings; 0 is a hard swap.
    """
    if width == 0:
        return [float(i >= first) for i in range(layers)]
    return [min(max((i - first + 0.5) / (2 * width) + 0.5, 0.0), 1.0) for i in range(layers)]


def likeness(a: Generator, b: Generator) -> float:
    """Cosine of the angle between the weights of two networks' convolutions: near 1 where one came from the other.

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
    """Makes sure that what is blended has the same shape in both networks.

    Args:
        a, b: the networks.
        mixed_mapping: whether their mapping networks are blended, too. One that is taken whole need not be like the
            other, but for the width of its w.

    Raises:
        ValueError: naming the first difference that is in the way, and the values of both.
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
    """The generator whose parameters are (1 - t) a + t b, with a share t of its own for each layer.

    Where t is 0 or 1 they are those of one network bit for bit. Stored noise, which is drawn and not learnt, and would
    be fainter if it were averaged, is that of the network with the larger share, of equal ones the first's.
    The networks must pass `check`.
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
    """The layer that a tensor of a generator's state belongs to; None for those of the mapping network."""
    part, *rest = key.split(".")
    if part != "synthesis":
        return None
    if rest[0] == "const":
        return 0
    _, k, name, *_ = rest
    return 2 * int(k) - 1 if name in ("conv0", "skip") else 2 * int(k)


def _between(a: dict[str, Tensor], b: dict[str, Tensor], key: str, t: float) -> Tensor:
    if t in (0, 1):
        return (b if t else a)[key]  # not by arithmetic, which makes 0 of -0, and needs both
    return a[key].lerp(b[key], t)


def _clamp(a: float, b: float) -> float:
    """The looser of two limits, of which 0 is none."""
    return max(a, b) if a and b else 0.0
