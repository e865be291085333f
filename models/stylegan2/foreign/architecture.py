"""The network whose tensors, under official names, a file holds: its configuration, and the tensors under our names."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.foreign import nvlabs
from models.stylegan2.foreign.options import is_same
from models.stylegan2.foreign.tensors import renamed
from models.stylegan2.generator import Generator
from models.stylegan2.layers import blur
from system.text import printable, shown

_FILTER = "resample_filter"  # a constant in their files
_WHOLE_BATCH = 2**16  # a group as large as any batch
_LARGEST_CLAMP = 1e30
_BASES, _WIDTHS = range(4, 2**26 + 1), range(1, 2**16 + 1)  # what a configuration allows
_MOST_SIZES = 12  # 4 to 8192 pixels

_Read = TypeVar("_Read")


class Settings(NamedTuple):
    """Facts that the tensors of a network do not show."""

    clamp: float = 0.0
    mbstd_group: int = 4
    channel_base: int | None = None  # taken if it agrees with the widths of the layers
    channel_max: int | None = None


class Built(NamedTuple):
    """A network of ours that computes what theirs computes."""

    config: Any
    network: nn.Module  # on the meta device
    names: dict[str, str]  # official name of a tensor -> ours
    tensors: dict[str, Tensor]  # by our names


def read_networks(names: Sequence[str], read: Callable[[str], _Read]) -> tuple[dict[str, _Read], dict[str, Any]]:
    """The networks of a file, and what its `source` says about those left out.

    If the file's discriminator has another architecture, it is skipped as long as there is a generator: most users only
    want the generator, and many forks changed only D.

    Args:
        names: of G_ema, G and D those in the file.
        read: reads one; raises ValueError with the reason if it cannot be built here.

    Raises:
        ValueError: from `read`, for a generator or a lone discriminator.
    """
    parts: dict[str, _Read] = {}
    left_out: dict[str, str] = {}
    for name in names:
        try:
            parts[name] = read(name)
        except ValueError as error:
            if name != "D" or len(names) == 1:
                raise
            left_out[name] = printable(str(error))
    return parts, {"left_out": left_out} if left_out else {}


def build(name: str, tensors: Mapping[str, Tensor], settings: Settings) -> Built:
    """The generator or discriminator (`name` is G, G_ema or D) with these tensors, which have official names.

    Raises:
        ValueError: if no StyleGAN2 has these tensors.
    """
    config: Any = _discriminator_config(tensors, settings) if name == "D" else _generator_config(tensors, settings)
    with torch.device("meta"):
        network = Discriminator(config) if name == "D" else Generator(config)
    names = nvlabs.discriminator_names(config) if name == "D" else nvlabs.generator_names(config)
    own = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[2] != _FILTER}
    return Built(config, network, names, renamed(own, names, network))


def _generator_config(tensors: Mapping[str, Tensor], settings: Settings) -> GeneratorConfig:
    sizes = _sizes(tensors, "synthesis.b")
    embedding, classes = _embedding(tensors)
    return _config(
        GeneratorConfig,
        **_shared(sizes, [_shape(tensors, f"synthesis.b{size}.conv1.weight", 4)[0] for size in sizes], settings),
        classes=classes,
        channels=_shape(tensors, f"synthesis.b{sizes[-1]}.torgb.weight", 4)[0],
        mapping_layers=_layers(tensors),
        z_dim=_shape(tensors, "mapping.fc0.weight", 2)[1] - embedding,
        w_dim=_shape(tensors, "mapping.w_avg", 1)[0],
        architecture=_architecture(tensors, "synthesis.", "torgb", sizes),
    )


def _discriminator_config(tensors: Mapping[str, Tensor], settings: Settings) -> DiscriminatorConfig:
    sizes = _sizes(tensors, "b")
    width, features, *_ = _shape(tensors, "b4.conv.weight", 4)
    if features - width != 1:
        raise ValueError(
            f"its discriminator has {features - width} maps of the minibatch standard deviation, expected 1"
        )
    return _config(
        DiscriminatorConfig,
        **_shared(sizes, [width, *(_shape(tensors, f"b{size}.conv0.weight", 4)[0] for size in sizes[1:])], settings),
        classes=_embedding(tensors)[1],
        channels=_shape(tensors, f"b{sizes[-1]}.fromrgb.weight", 4)[1],
        mapping_layers=_layers(tensors) or DiscriminatorConfig().mapping_layers,
        mbstd_group=settings.mbstd_group,
        architecture=_architecture(tensors, "", "fromrgb", sizes),
    )


def check_layers(built: Built, fields: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that the layers compute what ours compute.

    Args:
        built: the network.
        fields: what each layer, by its official name, states: `activation`, `weight_gain`, `bias_gain`.

    Raises:
        ValueError: naming the layer, what it states, and what was expected.
    """
    for theirs, ours in built.names.items():
        layer, _, kind = theirs.rpartition(".")
        if kind == "weight":
            module = built.network.get_submodule(ours.rpartition(".")[0])
            gains = {gain: getattr(module, gain, None) for gain in ("weight_gain", "bias_gain")}
            activation = "lrelu" if re.fullmatch(r"synthesis\.b\d+\.conv[01]", layer) else getattr(module, "act", None)
            expect(layer, fields.get(layer, {}), activation=activation, **gains)


def clamp_of(value: Any) -> float:
    """Our limit of activations for their `conv_clamp`; None means no limit."""
    if value is None:
        return 0.0
    if not isinstance(value, int | float) or not 0 < value < _LARGEST_CLAMP:
        raise ValueError(f"it is damaged (its conv_clamp is {shown(value)})")
    return float(value)


def group_of(value: Any) -> int:
    """Our group of the minibatch standard deviation for theirs; None means the whole batch."""
    if value is None:
        return _WHOLE_BATCH
    if type(value) is not int or value < 1:
        raise ValueError(f"it is damaged (its mbstd_group_size is {shown(value)})")
    return min(value, _WHOLE_BATCH)


def expect(what: str, said: Mapping[str, Any], **known: Any) -> None:
    """Check that a file states the known values. Values that are not stated, or not known (None), are not checked."""
    for name, value in known.items():
        if value is not None and said.get(name) is not None and not is_same(said[name], value):
            value = float(f"{value:.6g}") if isinstance(value, float) else value
            raise ValueError(f"its {what} has the {name} {shown(said[name])}, expected {shown(value)}")


def check_filters(tensors: Mapping[str, Tensor]) -> None:
    """Check that images are resampled with our filter."""
    ours = blur(torch.device("cpu"))
    for name, tensor in tensors.items():
        if name.rpartition(".")[2] == _FILTER and not (
            tensor.shape == ours.shape and torch.allclose(tensor.float(), ours, atol=1e-6)
        ):
            raise ValueError(f"its {name} is another filter, expected (1, 3, 3, 1)")


def _config(kind: type[BaseModel], **values: Any) -> Any:
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        what = " ".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"its network cannot be built here: {what}{': ' if what else ''}{reason}") from error


def _shared(sizes: list[int], widths: list[int], settings: Settings) -> dict[str, Any]:
    base, most = width_rule(sizes, widths, settings)
    size = {"height": sizes[-1], "width": sizes[-1], "channel_base": base, "channel_max": most}
    return size | {"clamp": settings.clamp}


def width_rule(sizes: list[int], widths: list[int], settings: Settings) -> tuple[int, int]:
    """(channel_base, channel_max) that give these widths at these sizes, preferably those that the file states.

    Raises:
        ValueError: if there are none.
    """
    largest = max(widths)
    smallest_base = max([4, *(size * width for size, width in zip(sizes, widths, strict=True) if width > 1)])
    for base, most in ((settings.channel_base, settings.channel_max), (smallest_base, largest)):
        if base is None or most is None or base not in _BASES or most not in _WIDTHS:
            continue
        if widths == [max(1, min(base // size, most)) for size in sizes]:
            return base, most
    raise ValueError(
        f"its layers are {', '.join(map(str, widths))} wide at {', '.join(map(str, sizes))} pixels, "
        "expected widths that halve as the size doubles, up to a largest width"
    )


def _architecture(tensors: Mapping[str, Tensor], prefix: str, rgb: str, sizes: list[int]) -> str:
    """Ours: 1x1 shortcuts make it residual, RGB layers at more than the largest size make it skip."""
    if any(f"{prefix}b{size}.skip.weight" in tensors for size in sizes):
        return "residual"
    return "skip" if any(f"{prefix}b{size}.{rgb}.weight" in tensors for size in sizes[:-1]) else "plain"


def _sizes(tensors: Mapping[str, Tensor], prefix: str) -> list[int]:
    """The sizes that have blocks: 4, 8, 16, ..."""
    found = {int(m[1]) for name in tensors if (m := re.match(re.escape(prefix) + r"(\d{1,5})\.", name))}
    sizes = [4 << k for k in range(max(len(found), 2))]
    if found != set(sizes) or len(sizes) > _MOST_SIZES:
        spelled = ", ".join(map(str, sorted(found)[:_MOST_SIZES])) or "no size"
        raise ValueError(f"it has blocks for {spelled}, expected 4, 8, 16, ... pixels")
    return sizes


def _embedding(tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """Width of the embedding, and number of classes."""
    if "mapping.embed.weight" not in tensors:
        return 0, 0
    width, classes = _shape(tensors, "mapping.embed.weight", 2)
    return width, classes


def _layers(tensors: Mapping[str, Tensor]) -> int:
    return sum(re.fullmatch(r"mapping\.fc\d+\.weight", name) is not None for name in tensors)


def _shape(tensors: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    if name not in tensors:
        raise ValueError(f"it has no tensor {name}, which every StyleGAN2 has")
    shape = tuple(tensors[name].shape)
    if len(shape) != dimensions or 0 in shape:
        raise ValueError(f"its {name} has shape {shown(shape)}, expected {dimensions} dimensions")
    return shape
