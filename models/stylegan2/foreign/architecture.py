"""The network whose tensors, under official names, a file holds: its configuration, and the tensors under our names."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.foreign import Converted
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.foreign.translation import Shapes, official_names, renamed, shape_of
from models.stylegan2.generator import Generator
from models.stylegan2.layers import blur
from system.text import printable
from torch_utils import config as configs

_FILTER = "resample_filter"  # a constant in their files
_MOST_SIZES = 12  # 4 to 8192 pixels


class NetworkSettings(NamedTuple):
    """Facts that the tensors of a network do not show."""

    clamp: float = 0.0
    mbstd_group: int = 4
    channel_base: Any = None  # taken if it agrees with the widths of the layers
    channel_max: Any = None


class BuiltNetwork(NamedTuple):
    """A network of ours that computes what theirs computes."""

    network: Generator | Discriminator  # on the meta device
    names: dict[str, str]  # their name of a tensor -> ours
    tensors: dict[str, Tensor]  # by our names


def converted(names: Iterable[str], read: Callable[[str], BuiltNetwork], source: dict[str, Any]) -> Converted:
    """The networks of a file of StyleGAN2.

    If the file's discriminator has another architecture, it is skipped as long as there is a generator: most users only
    want the generator, and many forks changed only D.

    Args:
        names: of G_ema, G and D those in the file.
        read: reads one; raises ValueError with the reason if it cannot be built here.
        source: facts about the file, for the metadata.

    Raises:
        ValueError: from `read`, for a generator or a lone discriminator.
    """
    metadata: dict[str, Any] = {"source": source}
    tensors: dict[str, Tensor] = {}
    names = list(names)
    for name in names:
        try:
            built = read(name)
        except ValueError as error:
            if name != "D" or len(names) == 1:
                raise
            source["left_out"] = {name: printable(str(error))}
            continue
        metadata["discriminator" if name == "D" else "generator"] = configs.to_dict(built.network.config)
        tensors |= {f"{name}.{key}": tensor for key, tensor in built.tensors.items()}
    return Converted("stylegan2", metadata, tensors)


def build(name: str, tensors: Mapping[str, Tensor], settings: NetworkSettings) -> BuiltNetwork:
    """The generator or discriminator (`name` is G, G_ema or D) with these tensors, which have official names.

    Raises:
        ValueError: if no StyleGAN2 has these tensors, or their filters are not ours.
    """
    network = network_of(name, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, settings)
    own, ours = dict(tensors), blur(torch.device("cpu"))
    for key in [key for key in tensors if key.rpartition(".")[2] == _FILTER]:
        check_filter(key, own.pop(key), ours)
    names = official_names(network)
    return BuiltNetwork(network, names, renamed(own, names, network))


def check_filter(name: str, tensor: Tensor, expected: Tensor) -> None:
    """Check that images are resampled with our filter."""
    if tensor.shape != expected.shape or not torch.allclose(tensor.float(), expected, atol=1e-6):
        raise ValueError(f"its {name} is another filter, expected (1, 3, 3, 1)")


def network_of(name: str, shapes: Shapes, settings: NetworkSettings) -> Generator | Discriminator:
    """The network, on the meta device, whose tensors have these official names and shapes."""
    if name == "D":
        found, kind, build = _discriminator(shapes), DiscriminatorConfig, Discriminator
        found["mbstd_group"] = settings.mbstd_group
    else:
        found, kind, build = _generator(shapes), GeneratorConfig, Generator
    sizes = found.pop("sizes")
    base, most = _width_rule(sizes, found.pop("widths"), settings)
    found |= {"height": sizes[-1], "width": sizes[-1], "channel_base": base, "channel_max": most}
    try:
        config: Any = configs.from_dict(kind, found | {"clamp": settings.clamp})
    except ValueError as error:
        raise ValueError(f"its network cannot be built here: {error}") from error
    with torch.device("meta"):
        return build(config)


def _generator(shapes: Shapes) -> dict[str, Any]:
    sizes = _sizes(shapes, "synthesis.b")
    w_dim, inputs = shape_of(shapes, "mapping.fc0.weight", 2)
    embedding, classes = _embedding(shapes)
    return {
        "sizes": sizes,
        "widths": [shape_of(shapes, f"synthesis.b{size}.conv1.weight", 4)[0] for size in sizes],
        "classes": classes,
        "channels": shape_of(shapes, f"synthesis.b{sizes[-1]}.torgb.weight", 4)[0],
        "mapping_layers": _layers(shapes),
        "z_dim": inputs - embedding,
        "w_dim": w_dim,
        "architecture": _architecture(shapes, "synthesis.", "torgb", sizes),
    }


def _discriminator(shapes: Shapes) -> dict[str, Any]:
    sizes = _sizes(shapes, "b")
    width, features, *_ = shape_of(shapes, "b4.conv.weight", 4)
    if features - width != 1:
        raise ValueError(
            f"its discriminator has {features - width} maps of the minibatch standard deviation, expected 1"
        )
    return {
        "sizes": sizes,
        "widths": [width, *(shape_of(shapes, f"b{size}.conv0.weight", 4)[0] for size in sizes[1:])],
        "classes": _embedding(shapes)[1],
        "channels": shape_of(shapes, f"b{sizes[-1]}.fromrgb.weight", 4)[1],
        "mapping_layers": _layers(shapes) or DiscriminatorConfig().mapping_layers,
        "architecture": _architecture(shapes, "", "fromrgb", sizes),
    }


def _width_rule(sizes: list[int], widths: list[int], settings: NetworkSettings) -> tuple[int, int]:
    """(channel_base, channel_max) that give these widths at these sizes, preferably those that the file states."""
    smallest_base = max([4, *(size * width for size, width in zip(sizes, widths, strict=True) if width > 1)])
    for base, most in ((settings.channel_base, settings.channel_max), (smallest_base, max(widths))):
        if type(base) is int and type(most) is int and widths == [max(1, min(base // s, most)) for s in sizes]:
            return base, most
    raise ValueError(
        f"its layers are {', '.join(map(str, widths))} wide at {', '.join(map(str, sizes))} pixels, "
        "expected widths that halve as the size doubles, up to a largest width"
    )


def _architecture(shapes: Shapes, prefix: str, rgb: str, sizes: list[int]) -> str:
    """Ours: 1x1 shortcuts make it residual, RGB layers at more than the largest size make it skip."""
    if any(f"{prefix}b{size}.skip.weight" in shapes for size in sizes):
        return "residual"
    return "skip" if any(f"{prefix}b{size}.{rgb}.weight" in shapes for size in sizes[:-1]) else "plain"


def _sizes(shapes: Shapes, prefix: str) -> list[int]:
    """The sizes that have blocks: 4, 8, 16, ..."""
    found = {int(m[1]) for name in shapes if (m := re.match(re.escape(prefix) + r"(\d{1,5})\.", name))}
    sizes = [4 << k for k in range(max(len(found), 2))]
    if found != set(sizes) or len(sizes) > _MOST_SIZES:
        spelled = ", ".join(map(str, sorted(found)[:_MOST_SIZES])) or "no size"
        raise ValueError(f"it has blocks for {spelled}, expected 4, 8, 16, ... pixels")
    return sizes


def _embedding(shapes: Shapes) -> tuple[int, ...]:
    """Width of the embedding, and number of classes."""
    return shape_of(shapes, "mapping.embed.weight", 2) if "mapping.embed.weight" in shapes else (0, 0)


def _layers(shapes: Shapes) -> int:
    return sum(re.fullmatch(r"mapping\.fc\d+\.weight", name) is not None for name in shapes)
