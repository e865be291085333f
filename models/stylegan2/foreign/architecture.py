"""The network whose tensors, under official names, a file holds: its configuration, and the tensors under our names."""

import re
from collections.abc import Callable, Iterable, Mapping
from math import isclose
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.foreign import Converted
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig, ImageConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.foreign import nvlabs
from models.stylegan2.foreign.tensors import renamed, shape_of
from models.stylegan2.generator import Generator
from models.stylegan2.layers import blur
from system.text import printable, shown
from torch_utils import config as configs

_FILTER = "resample_filter"  # a constant in their files
_WHOLE_BATCH = 2**16  # a group as large as any batch
_MOST_SIZES = 12  # 4 to 8192 pixels

# Words in the names of options that concern training or speed only.
_IDLE = re.compile(
    "(.*_)?(adam|ada|aug|augment|batch|beta|bf16|cache|checkpoint|cuda|cudnn|data|debug|device|dropout|dtype|ema|fp16|"
    "fp32|freeze|frozen|fused|gamma|gpu|gpus|impl|init|kimg|log|loss|lr|metrics|name|optimizer|pl|precision|reg|"
    "resume|seed|snap|snapshot|structure|train|trainable|training|verbose|workers|xla)(_.*)?"
)
_SIZE_WORD = (
    "(base|c|ch|channels?|class|classes|dims?|h|height|image|img|in|latents?|layers|log2|map|mapping|max|min|n|num|out|"
    "res|resolution|sizes?|w|width|z)"
)
_SIZE = re.compile(f"{_SIZE_WORD}(_{_SIZE_WORD})*")

_USUAL: dict[str, Any] = {  # what every StyleGAN2 does; another value of such an option changes the picture
    r"(.*_)?(act|activation|act_func|nonlinearity)": "lrelu",
    r"(.*_)?(resample|blur|fir)_?(kernel|filter)": [1, 3, 3, 1],
    r"(.*_)?(demod\w*|modulate|bias|noise|mbstd|pixel_?norm|normali[sz]e\w*)": True,
}


class NetworkSettings(NamedTuple):
    """Facts that the tensors of a network do not show."""

    clamp: float = 0.0
    mbstd_group: int = 4
    channel_base: Any = None  # taken if it agrees with the widths of the layers
    channel_max: Any = None


class BuiltNetwork(NamedTuple):
    """A network of ours that computes what theirs computes."""

    config: Any
    network: nn.Module  # on the meta device
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
        metadata["discriminator" if name == "D" else "generator"] = configs.to_dict(built.config)
        tensors |= {f"{name}.{key}": tensor for key, tensor in built.tensors.items()}
    return Converted("stylegan2", metadata, tensors)


def build(name: str, tensors: Mapping[str, Tensor], settings: NetworkSettings) -> BuiltNetwork:
    """The generator or discriminator (`name` is G, G_ema or D) with these tensors, which have official names.

    Raises:
        ValueError: if no StyleGAN2 has these tensors.
    """
    config, network = config_of(name, tensors, settings)
    names = nvlabs.discriminator_names(config) if name == "D" else nvlabs.generator_names(config)
    own = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[2] != _FILTER}
    return BuiltNetwork(config, network, names, renamed(own, names, network))


def config_of(name: str, tensors: Mapping[str, Tensor], settings: NetworkSettings) -> tuple[Any, nn.Module]:
    """The configuration that the shapes of tensors with official names show, and a network of it on the meta device."""
    found = _discriminator(tensors, settings) if name == "D" else _generator(tensors, settings)
    try:
        config: Any = configs.from_dict(DiscriminatorConfig if name == "D" else GeneratorConfig, found)
    except ValueError as error:
        raise ValueError(f"its network cannot be built here: {error}") from error
    with torch.device("meta"):
        return config, Discriminator(config) if name == "D" else Generator(config)


def _generator(tensors: Mapping[str, Tensor], settings: NetworkSettings) -> dict[str, Any]:
    sizes = _sizes(tensors, "synthesis.b")
    embedding, classes = _embedding(tensors)
    return {
        **_shared(sizes, [shape_of(tensors, f"synthesis.b{size}.conv1.weight", 4)[0] for size in sizes], settings),
        "classes": classes,
        "channels": shape_of(tensors, f"synthesis.b{sizes[-1]}.torgb.weight", 4)[0],
        "mapping_layers": _layers(tensors),
        "z_dim": shape_of(tensors, "mapping.fc0.weight", 2)[1] - embedding,
        "w_dim": shape_of(tensors, "mapping.fc0.weight", 2)[0],
        "architecture": _architecture(tensors, "synthesis.", "torgb", sizes),
    }


def _discriminator(tensors: Mapping[str, Tensor], settings: NetworkSettings) -> dict[str, Any]:
    sizes = _sizes(tensors, "b")
    width, features, *_ = shape_of(tensors, "b4.conv.weight", 4)
    if features - width != 1:
        raise ValueError(
            f"its discriminator has {features - width} maps of the minibatch standard deviation, expected 1"
        )
    return {
        **_shared(sizes, [width, *(shape_of(tensors, f"b{size}.conv0.weight", 4)[0] for size in sizes[1:])], settings),
        "classes": _embedding(tensors)[1],
        "channels": shape_of(tensors, f"b{sizes[-1]}.fromrgb.weight", 4)[1],
        "mapping_layers": _layers(tensors) or DiscriminatorConfig().mapping_layers,
        "mbstd_group": settings.mbstd_group,
        "architecture": _architecture(tensors, "", "fromrgb", sizes),
    }


def check_layers(built: BuiltNetwork, fields: Mapping[str, Mapping[str, Any]]) -> None:
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


def _positive(what: str, value: Any, fits: bool) -> Any:
    if isinstance(value, bool) or not fits or not 0 < value < 1e30:
        raise ValueError(f"it is damaged (its {what} is {shown(value)})")
    return value


def clamp_of(value: Any) -> float:
    """Our limit of activations for their `conv_clamp`; None means no limit."""
    return 0.0 if value is None else float(_positive("conv_clamp", value, isinstance(value, int | float)))


def group_of(value: Any) -> int:
    """Our group of the minibatch standard deviation for theirs; None means the whole batch."""
    return min(_positive("mbstd_group_size", value or _WHOLE_BATCH, type(value) in (int, type(None))), _WHOLE_BATCH)


def expect(what: str, said: Mapping[str, Any], **known: Any) -> None:
    """Check that a file states the known values. Values that are not stated, or not known (None), are not checked."""
    for name, value in known.items():
        if value is not None and said.get(name) is not None and not _is_same(said[name], value):
            value = float(f"{value:.6g}") if isinstance(value, float) else value
            raise ValueError(f"its {what} has the {name} {shown(said[name])}, expected {shown(value)}")


def _is_same(value: Any, known: Any) -> bool:
    """Whether a value from a file equals a known one: a number (rounding aside), a text, or a list of numbers."""
    if isinstance(known, list):
        return isinstance(value, list) and len(value) == len(known) and all(map(_is_same, value, known))
    if isinstance(known, bool | str) or isinstance(value, bool | str):
        return type(value) is type(known) and value == known
    return isinstance(value, int | float) and abs(value) < 1e30 and isclose(value, known, rel_tol=1e-5)


def check_option(name: str, value: Any, config: ImageConfig) -> None:
    """Refuse an unknown option that may change what a network computes.

    An option is harmless if it is off or empty, concerns training or speed, or repeats what every StyleGAN2 does or a
    size that the tensors have.
    """
    words = name[:100].lower()
    sizes = {size for size in config.model_dump().values() if type(size) is int} | {4, config.doublings + 2}
    empty = value is None or (isinstance(value, bool | int | float | str | bytes | list | tuple | dict) and not value)
    if usual := [usual for pattern, usual in _USUAL.items() if re.fullmatch(pattern, words)]:
        harmless = value is None or _is_same(value, usual[0])
    else:
        is_size = _SIZE.fullmatch(words) and type(value) is int and value in sizes
        harmless = bool(empty or _IDLE.fullmatch(words) or is_size)
    if not harmless:
        raise ValueError(f"its network was made with the option {shown(name)}, which StyleGAN2 does not have")


def check_filters(tensors: Mapping[str, Tensor]) -> None:
    """Check that images are resampled with our filter."""
    ours = blur(torch.device("cpu"))
    for name, tensor in tensors.items():
        if name.rpartition(".")[2] == _FILTER:
            check_filter(name, tensor, ours)


def check_filter(name: str, tensor: Tensor, expected: Tensor) -> None:
    """Check one filter."""
    if tensor.shape != expected.shape or not torch.allclose(tensor.float(), expected, atol=1e-6):
        raise ValueError(f"its {name} is another filter, expected (1, 3, 3, 1)")


def _shared(sizes: list[int], widths: list[int], settings: NetworkSettings) -> dict[str, Any]:
    base, most = _width_rule(sizes, widths, settings)
    size = {"height": sizes[-1], "width": sizes[-1], "channel_base": base, "channel_max": most}
    return size | {"clamp": settings.clamp}


def _width_rule(sizes: list[int], widths: list[int], settings: NetworkSettings) -> tuple[int, int]:
    """(channel_base, channel_max) that give these widths at these sizes, preferably those that the file states."""
    smallest_base = max([4, *(size * width for size, width in zip(sizes, widths, strict=True) if width > 1)])
    for base, most in ((settings.channel_base, settings.channel_max), (smallest_base, max(widths))):
        if type(base) is not int or type(most) is not int:
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
    width, classes = shape_of(tensors, "mapping.embed.weight", 2)
    return width, classes


def _layers(tensors: Mapping[str, Tensor]) -> int:
    return sum(re.fullmatch(r"mapping\.fc\d+\.weight", name) is not None for name in tensors)
