"""The network that tensors of official names are of: its configuration told from them, and they in our names."""

import re
from collections.abc import Mapping
from math import isclose
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.foreign import nvlabs
from models.stylegan2.generator import Generator
from models.stylegan2.layers import blur
from system.text import shown

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WHOLE_BATCH = 2**16  # a group of which no batch has more
_LARGEST_CLAMP = 1e30
_BASES, _WIDTHS = range(4, 2**26 + 1), range(1, 2**16 + 1)  # what a configuration may have
_MOST_SIZES = 12  # 4 to 8192 pixels


class Settings(NamedTuple):
    """What a file says of a network that its tensors do not show."""

    clamp: float = 0.0
    mbstd_group: int = 4
    channel_base: int | None = None  # taken where the widths of the layers agree with it
    channel_max: int | None = None


class Built(NamedTuple):
    """A network of ours for theirs."""

    config: Any
    network: nn.Module  # on the meta device
    names: dict[str, str]  # official name of a tensor -> ours
    tensors: dict[str, Tensor]  # by our names


def build_generator(tensors: Mapping[str, Tensor], settings: Settings) -> Built:
    """The generator whose tensors, by official names, these are. Raises ValueError where there is none."""
    sizes = _sizes(tensors, "synthesis.b")
    widths = [_shape(tensors, f"synthesis.b{size}.conv1.weight", 4)[0] for size in sizes]
    (w_dim,) = _shape(tensors, "mapping.w_avg", 1)
    embedding, classes = _embedding(tensors)
    found = _config(
        GeneratorConfig,
        **_shared(tensors, sizes, widths, classes, settings),
        channels=_shape(tensors, f"synthesis.b{sizes[-1]}.torgb.weight", 4)[0],
        mapping_layers=_layers(tensors),
        z_dim=_shape(tensors, "mapping.fc0.weight", 2)[1] - embedding,
        w_dim=w_dim,
        architecture=_architecture(tensors, "synthesis.", "torgb", sizes),
    )
    with torch.device("meta"):
        network = Generator(found)
    return _built(found, network, nvlabs.generator_names(found), tensors)


def build_discriminator(tensors: Mapping[str, Tensor], settings: Settings) -> Built:
    """The discriminator whose tensors, by official names, these are. Raises ValueError where there is none."""
    sizes = _sizes(tensors, "b")
    top = sizes[-1]
    width, features, *_ = _shape(tensors, "b4.conv.weight", 4)
    if features - width != 1:
        raise ValueError(
            f"its discriminator has {features - width} maps of the minibatch's standard deviation, "
            "and only one is known here"
        )
    widths = [width, *(_shape(tensors, f"b{size}.conv0.weight", 4)[0] for size in sizes[1:])]
    found = _config(
        DiscriminatorConfig,
        **_shared(tensors, sizes, widths, _embedding(tensors)[1], settings),
        channels=_shape(tensors, f"b{top}.fromrgb.weight", 4)[1],
        mapping_layers=_layers(tensors) or DiscriminatorConfig().mapping_layers,
        mbstd_group=settings.mbstd_group,
        architecture=_architecture(tensors, "", "fromrgb", sizes),
    )
    with torch.device("meta"):
        network = Discriminator(found)
    return _built(found, network, nvlabs.discriminator_names(found), tensors)


def check_layers(built: Built, fields: Mapping[str, Mapping[str, Any]]) -> None:
    """Makes sure that the layers say of themselves what ours compute.

    Args:
        built: the network.
        fields: what each layer, by its official name, says: `activation`, `weight_gain`, `bias_gain`.

    Raises:
        ValueError: naming the layer, what it says, and what was wanted.
    """
    for theirs, ours in built.names.items():
        layer, _, kind = theirs.rpartition(".")
        if kind != "weight":
            continue
        module = built.network.get_submodule(ours.rpartition(".")[0])
        said = fields.get(layer, {})
        activation = "lrelu" if re.fullmatch(r"synthesis\.b\d+\.conv[01]", layer) else getattr(module, "act", None)
        expect(layer, said, activation=activation)
        for gain in ("weight_gain", "bias_gain"):
            mine, value = getattr(module, gain, None), said.get(gain)
            if mine is not None and value is not None and not _is_close(value, mine):
                raise ValueError(f"its {layer} has the {gain} {shown(value)}, and only {mine:.6g} is known here")


def clamp_of(value: Any) -> float:
    """Our limit for their `conv_clamp`, which is None for none."""
    if value is None:
        return 0.0
    if not isinstance(value, int | float) or not 0 < value < _LARGEST_CLAMP:
        raise ValueError(f"it is damaged (its conv_clamp is {shown(value)})")
    return float(value)


def group_of(value: Any) -> int:
    """Our group of the minibatch's standard deviation for theirs, where None is the whole batch."""
    if value is None:
        return _WHOLE_BATCH
    if type(value) is not int or value < 1:
        raise ValueError(f"it is damaged (its mbstd_group_size is {shown(value)})")
    return min(value, _WHOLE_BATCH)


def expect(what: str, said: Mapping[str, Any], **known: Any) -> None:
    """Makes sure that what is said is what is known. Where nothing is said, or nothing is known, nothing is wrong."""
    for name, value in known.items():
        if value is not None and said.get(name) is not None and not _equal(said[name], value):
            raise ValueError(f"its {what} has the {name} {shown(said[name])}, and only {shown(value)} is known here")


def settle(what: str, said: Mapping[str, Any], **found: int) -> None:
    """Makes sure that a network's sizes are said to be what its tensors have. Raises ValueError, naming both."""
    for name, value in found.items():
        if said.get(name) is not None and not _equal(said[name], value):
            raise ValueError(
                f"the {name} of its {what} is said to be {shown(said[name])}, but its tensors have {value}"
            )


def check_filters(tensors: Mapping[str, Tensor]) -> None:
    """Makes sure that images are resampled with the filter that we build."""
    ours = blur(torch.device("cpu"))
    for name, tensor in tensors.items():
        if name.split(".")[-1] == "resample_filter" and not (
            tensor.shape == ours.shape and torch.allclose(tensor.float(), ours, atol=1e-6)
        ):
            raise ValueError(f"its {name} is another than that of (1, 3, 3, 1), and only that is known here")


def _built(found: Any, network: nn.Module, names: dict[str, str], tensors: Mapping[str, Tensor]) -> Built:
    ours = nvlabs.from_official(dict(tensors), names)
    wanted = network.state_dict()
    for theirs, name in names.items():
        if ours[name].shape != wanted[name].shape:
            shapes = [shown(tuple(tensor.shape)) for tensor in (ours[name], wanted[name])]
            raise ValueError(f"its {theirs} has the shape {shapes[0]}, and the other tensors ask for {shapes[1]}")
        if ours[name].dtype not in _FLOATS:
            raise ValueError(f"its {theirs} is of {ours[name].dtype}, and networks are of floating-point numbers")
    return Built(found, network, names, ours)


def _config(kind: type[BaseModel], **values: Any) -> Any:
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        what = " ".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"its network cannot be built here: {what}{': ' if what else ''}{reason}") from error


def _shared(
    tensors: Mapping[str, Tensor], sizes: list[int], widths: list[int], classes: int, settings: Settings
) -> dict[str, Any]:
    base, most = width_rule(sizes, widths, settings)
    size = {"height": sizes[-1], "width": sizes[-1], "channel_base": base, "channel_max": most}
    return size | {"classes": classes, "clamp": settings.clamp}


def width_rule(sizes: list[int], widths: list[int], settings: Settings) -> tuple[int, int]:
    """(channel_base, channel_max) that give these widths at these sizes; what the file says of them goes first.

    Raises:
        ValueError: when none do.
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
        "and only widths that halve as the size doubles, up to a largest one, are known here"
    )


def _architecture(tensors: Mapping[str, Tensor], prefix: str, rgb: str, sizes: list[int]) -> str:
    """Ours: told by 1x1 shortcuts, or by RGB layers that other sizes have than the largest one."""
    if any(f"{prefix}b{size}.skip.weight" in tensors for size in sizes):
        return "residual"
    return "skip" if any(f"{prefix}b{size}.{rgb}.weight" in tensors for size in sizes[:-1]) else "plain"


def _sizes(tensors: Mapping[str, Tensor], prefix: str) -> list[int]:
    """The sizes that have blocks: 4, 8, 16, ..."""
    found = {int(m[1]) for name in tensors if (m := re.match(re.escape(prefix) + r"(\d{1,5})\.", name))}
    sizes = [4 << k for k in range(max(len(found), 2))]
    if found != set(sizes) or len(sizes) > _MOST_SIZES:
        spelled = ", ".join(map(str, sorted(found)[:_MOST_SIZES])) or "no size"
        raise ValueError(f"it has blocks for {spelled}, and those of StyleGAN2 are for 4, 8, 16, ... pixels")
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
        raise ValueError(f"its {name} has the shape {shown(shape)}, and not {dimensions} dimensions")
    return shape


def _equal(theirs: Any, ours: Any) -> bool:
    return isinstance(theirs, bool | int | float | str) and theirs == ours


def _is_close(theirs: Any, ours: float) -> bool:
    return isinstance(theirs, int | float) and -1e30 < theirs < 1e30 and isclose(theirs, ours, rel_tol=1e-5)
