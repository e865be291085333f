"""Files of rosinality/stylegan2-pytorch, read and written. Its graph computes what ours does; names and shapes differ.

Files of its training hold `g`, `d`, `g_ema`, both optimisers, the options and the probability of augmentation; files
converted from official ones `g_ema`, `latent_avg` and sometimes `g` and `d`. Weights carry the same gains as ours, so
a tensor goes over as it is, with axes of length 1 in front or behind.

What its graph has not: classes, images that are grey, transparent or not square, other architectures than output
skips in the generator and residual blocks in the discriminator, groups of other than 4 samples in the minibatch
statistics, and a limit of a convolution's output. The last matters to float16 alone and is left behind; networks that
need one of the others are refused.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.foreign import Converted
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig, ImageConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.foreign.architecture import Settings, width_rule
from models.stylegan2.foreign.average import average_w
from models.stylegan2.foreign.converted import length, read_networks
from models.stylegan2.foreign.rosinality_names import Place, filters, places
from models.stylegan2.generator import Generator
from models.stylegan2.mapping import MappingNetwork
from system.files import replacing
from system.text import printable
from torch_utils import config as configs
from torch_utils.torchfile import plain_tensors

KEYS = ("g_ema", "g", "d")  # by which a file is known to be of this program
SIGNS = {"g_ema": "input.input", "d": "final_conv.0.weight"}  # tensors by which its state dicts are known
AVERAGE = "latent_avg"
CHANNELS = 3
MOST_DOUBLINGS = 9  # of 4 x 4: images of 2048 x 2048
GROUP = 4  # samples that share a minibatch standard deviation
WIDEST_W = 2048  # dimensions of latents, of which the average is not computed in no time
MOST_IN_A_ROW = 16  # state dicts in a list
WIDEST = 512  # feature maps up to 32 x 32
PER_MULTIPLIER = 16384  # feature maps times resolution beyond, for each unit of its channel_multiplier

_OURS = {"g_ema": "G_ema", "g": "G", "d": "D"}


def claims(contents: Any) -> bool:
    """Whether contents are a checkpoint of this program, or state dicts of it alone or in a list."""
    return bool(_arranged(contents))


def _arranged(contents: Any) -> dict[str, Any]:
    """The contents with the keys of a checkpoint; empty for another program's. The last of two generators is g_ema."""
    if isinstance(contents, Mapping):
        kind = _kind(contents)
        known = {key: value for key, value in contents.items() if key not in KEYS or value is not None}
        return {kind: contents} if kind else known if known.keys() & set(KEYS) else {}
    if not isinstance(contents, list | tuple) or len(contents) > MOST_IN_A_ROW:
        return {}
    states = [state for state in contents if state is not None]
    kinds = [_kind(state) if isinstance(state, Mapping) else "" for state in states]
    if "" in kinds or kinds.count("d") > 1 or kinds.count("g_ema") > 2:
        return {}
    found = dict(zip(kinds, states, strict=True))
    return found | ({"g": states[kinds.index("g_ema")]} if kinds.count("g_ema") == 2 else {})


def _kind(state: Mapping[Any, Any]) -> str:
    """The key of a state dict in a checkpoint; "" for another program's."""
    return next((key for key, sign in SIGNS.items() if sign in state), "")


def from_rosinality(contents: Any, path: Path) -> Converted:
    """The networks of a file under our names.

    Args:
        contents: what `torchfile.read` returned.
        path: the file.

    Raises:
        ValueError: if a tensor is missing, left over or of another shape, with the name of the first.
    """
    contents, size = _arranged(contents), path.stat().st_size
    states = {ours: plain_tensors(contents[key], key, size) for key, ours in _OURS.items() if key in contents}
    known = plain_tensors({key: contents[key] for key in (AVERAGE,) if key in contents}, "contents", size)
    generator = next((name for name in ("G_ema", "G") if name in states), "")
    config = _generator_config(states[generator]) if generator else None
    judge = _discriminator_config(config if config else _image_config(states["D"]))

    def read_one(name: str) -> dict[str, Tensor]:
        with torch.device("meta"):
            network = Discriminator(judge) if name == "D" else Generator(config or GeneratorConfig())
        return _ours(states[name], network)

    parts, left_out = read_networks(list(states), read_one)
    kind = "training" if "g_optim" in contents else "converted"
    metadata: dict[str, Any] = {"source": {"format": f"rosinality .pt ({kind})"}}
    if config:
        average, metadata["source"]["w_average"] = _average(known.get(AVERAGE), parts[generator], config)
        metadata["generator"] = configs.to_dict(config)
        for name in parts.keys() - {"D"}:
            parts[name]["mapping.w_average"] = average.clone()
    metadata["source"] |= left_out
    if "D" in parts:
        metadata["discriminator"] = configs.to_dict(judge)
    return Converted(
        "stylegan2", metadata, {f"{name}.{key}": t for name, part in parts.items() for key, t in part.items()}
    )


def to_rosinality(networks: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Our networks as the contents of one of its converted files, which its `Generator` and `Discriminator` load.

    Args:
        networks: of G_ema, G and D those to go over; G_ema must be among them.

    Raises:
        ValueError: when its graph cannot hold a network, with the reason.
    """
    if "G_ema" not in networks:
        raise ValueError("a file of rosinality's program holds an averaged generator, and here is no G_ema: add it")
    contents: dict[str, Any] = {}
    for theirs, ours in _OURS.items():
        if ours in networks:
            network = networks[ours]
            _check(ours, network)
            contents[theirs] = _theirs(network)
    contents[AVERAGE] = networks["G_ema"].get_buffer("mapping.w_average").float().cpu().clone()
    return contents


def write_rosinality(path: Path, networks: Mapping[str, nn.Module]) -> None:
    """Writes `to_rosinality` of the networks; the file appears whole or not at all.

    Raises:
        ValueError: as `to_rosinality`.
    """
    contents = to_rosinality(networks)
    with replacing(path) as temporary:
        torch.save(contents, temporary)


def _ours(state: Mapping[str, Tensor], built: nn.Module) -> dict[str, Tensor]:
    """Their tensors under our names; every name and shape is checked against the network that they are for."""
    where, shapes = places(built), {name: tuple(t.shape) for name, t in built.state_dict().items()}
    rest, tensors = dict(state), {}
    if isinstance(built, Generator) and not any(name.startswith("noises.") for name in state):
        rest |= _drawn_noises(where, shapes)
    for name, place in where.items():
        found = rest.pop(place.name, None)
        if found is None:
            raise ValueError(f"{place.name} is missing")
        if tuple(found.shape) != place.shape(shapes[name]):
            wanted = list(place.shape(shapes[name]))
            raise ValueError(f"{place.name} has shape {list(found.shape)}, expected {wanted}")
        tensors[name] = found.reshape(shapes[name])
    for name, filter_ in filters(built).items():
        found = rest.pop(name, filter_)
        if found.shape != filter_.shape or not torch.allclose(found.float(), filter_, atol=1e-6):
            raise ValueError(f"{name} is another filter than 1 3 3 1")
    if rest:
        raise ValueError(f"{len(rest)} tensors have no place in it, the first is {printable(min(rest), 80)}")
    return tensors


def _drawn_noises(where: Mapping[str, Place], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Noise to be kept, for files of its first versions, which kept none: always the same."""
    source = torch.Generator().manual_seed(0)
    fixed = {place.name: place.shape(shapes[name]) for name, place in where.items() if name.endswith("noise.fixed")}
    return {name: torch.randn(shape, generator=source) for name, shape in fixed.items()}


def _check(name: str, network: nn.Module) -> None:
    """Refuses what its graph cannot hold."""
    config = network.config
    if not isinstance(config, ImageConfig):
        raise ValueError(f"{name} has no place in a file of rosinality's program: it is no StyleGAN2")
    reasons = {
        f"it has {config.classes} classes": config.classes > 0,
        f"its images have {config.channels} channels, and RGB alone is known there": config.channels != CHANNELS,
        f"its images of {config.height} x {config.width} are no power of two a side": (
            config.height != config.width or config.base != (4, 4)
        ),
        f"its widths are not {WIDEST} up to 32 x 32, and then a multiple of {PER_MULTIPLIER} / size": (
            _multiplier(config) is None
        ),
    }
    if isinstance(config, GeneratorConfig):
        reasons[f"it is of the {config.architecture} architecture"] = config.architecture != "skip"
        reasons["its z and w are not of one width"] = config.z_dim != config.w_dim
    if isinstance(config, DiscriminatorConfig):
        reasons[f"it is of the {config.architecture} architecture"] = config.architecture != "residual"
        reasons[f"its minibatch statistics are over {config.mbstd_group} samples, not {GROUP}"] = (
            config.mbstd_group != GROUP
        )
    for reason, applies in reasons.items():
        if applies:
            raise ValueError(f"{name} has no place in a file of rosinality's program: {reason}")


def _multiplier(config: ImageConfig) -> int | None:
    """Its channel_multiplier that gives the widths of a network; None where none does. Small ones have all."""
    widths = [config.channels_at(k) for k in range(config.doublings + 1)]
    beyond = [width * (4 << k) / PER_MULTIPLIER for k, width in enumerate(widths) if k > 3]
    multiplier = beyond[-1] if beyond else 2
    fits = set(widths[:4]) == {WIDEST} and set(beyond) <= {multiplier} and multiplier == int(multiplier)
    return int(multiplier) if fits else None


def _theirs(network: nn.Module) -> dict[str, Tensor]:
    plain = torch.contiguous_format  # ours are kept as convolutions read them
    own = {name: t.float().cpu().clone(memory_format=plain) for name, t in network.state_dict().items()}
    moved = {place.name: own[name].reshape(place.shape(own[name].shape)) for name, place in places(network).items()}
    return moved | filters(network)


def _generator_config(state: Mapping[str, Tensor]) -> GeneratorConfig:
    """The sizes of a generator, by its tensors."""
    layers = sum(1 for name in state if re.fullmatch(r"style\.\d+\.weight", name))
    doublings = sum(1 for name in state if re.fullmatch(r"to_rgbs\.\d+\.bias", name))
    if not 1 <= layers <= 32 or not 1 <= doublings <= MOST_DOUBLINGS:
        raise ValueError(f"it has {layers} layers style.… and {doublings} to_rgbs.…")
    convs = ["conv1", *(f"convs.{2 * i + 1}" for i in range(doublings))]
    widths = [length(state, f"{conv}.activate.bias", 0) for conv in convs]
    base, most = width_rule([4 << k for k in range(doublings + 1)], widths, Settings())
    z_dim, w_dim = length(state, "style.1.weight", 1), length(state, "style.1.weight", 0)
    if max(z_dim, w_dim) > WIDEST_W:
        raise ValueError(f"its latents have {max(z_dim, w_dim)} dimensions, and at most {WIDEST_W} are read")
    sizes = {"channel_base": base, "channel_max": most, "mapping_layers": layers, "z_dim": z_dim, "w_dim": w_dim}
    return configs.from_dict(
        GeneratorConfig, {"height": 4 << doublings, "width": 4 << doublings, "channels": CHANNELS} | sizes
    )


def _image_config(state: Mapping[str, Tensor]) -> ImageConfig:
    """The sizes of a discriminator, by its tensors."""
    doublings = sum(1 for name in state if re.fullmatch(r"convs\.[0-9]+\.conv1\.1\.bias", name))
    if not 1 <= doublings <= MOST_DOUBLINGS:
        raise ValueError(f"it has {doublings} blocks convs.…")
    names = ["final_conv.1.bias", *(f"convs.{doublings - k + 1}.conv1.1.bias" for k in range(1, doublings + 1))]
    widths = [length(state, name, 0) for name in names]
    base, most = width_rule([4 << k for k in range(doublings + 1)], widths, Settings())
    size = {"height": 4 << doublings, "width": 4 << doublings, "channels": CHANNELS}
    return configs.from_dict(ImageConfig, size | {"channel_base": base, "channel_max": most})


def _discriminator_config(config: ImageConfig) -> DiscriminatorConfig:
    shared = {name: getattr(config, name) for name in ImageConfig.model_fields}
    return DiscriminatorConfig(**shared, architecture="residual", mbstd_group=GROUP)


def _average(known: Tensor | None, own: Mapping[str, Tensor], config: GeneratorConfig) -> tuple[Tensor, str]:
    """The average w, and where it comes from."""
    if known is not None:
        if known.numel() != config.w_dim:
            raise ValueError(f"{AVERAGE} has {known.numel()} numbers, and a w has {config.w_dim}")
        return known.reshape(config.w_dim), AVERAGE
    mapping = MappingNetwork(config.z_dim, 0, config.w_dim, config.mapping_layers, track_average=False)
    mapping.load_state_dict({name: own[f"mapping.{name}"] for name in mapping.state_dict()})
    weights = sum(t.numel() for t in mapping.parameters())
    return average_w(mapping, config.z_dim, weights)
