"""Files of rosinality/stylegan2-pytorch, read and written. Its graph computes what ours computes; names differ.

Files of its training hold `g`, `d`, `g_ema`, both optimizers, the options and the probability of augmentation; files
converted from official ones hold `g_ema`, `latent_avg` and sometimes `g` and `d`. Weights carry the same gains as ours.

Not supported by rosinality's graph: classes, images that are gray, transparent or not square, other architectures than
output skips in the generator and residual blocks in the discriminator, groups of other than 4 samples in the minibatch
statistics, and a limit of a convolution's output. That limit matters to float16 only and is dropped; networks that need
anything else of these are refused.
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
from models.stylegan2.foreign.architecture import Settings, read_networks, width_rule
from models.stylegan2.foreign.rosinality_names import filters, names, their_shape
from models.stylegan2.foreign.tensors import average_w, length, renamed
from models.stylegan2.generator import Generator
from models.stylegan2.mapping import MappingNetwork
from system.files import replacing
from torch_utils import config as configs
from torch_utils.torchfile import plain_tensors

KEYS = {"g_ema": "G_ema", "g": "G", "d": "D"}  # of a checkpoint, with our names
SIGNS = {"g_ema": "input.input", "d": "final_conv.0.weight"}  # a tensor of each kind of state dict
AVERAGE = "latent_avg"
CHANNELS = 3
MOST_DOUBLINGS = 9  # of 4 x 4: images of 2048 x 2048
GROUP = 4  # samples that share a minibatch standard deviation
WIDEST_W = 2048  # dimensions; the average of wider latents would take long to compute
MOST_IN_A_ROW = 16  # state dicts in a list
WIDEST = 512  # feature maps up to 32 x 32
PER_MULTIPLIER = 16384  # feature maps times resolution beyond 32 x 32, for each unit of channel_multiplier


def claims(contents: Any) -> bool:
    """Whether contents are a checkpoint of this program, or state dicts of it alone or in a list."""
    return bool(_arranged(contents))


def from_rosinality(contents: Any, path: Path) -> Converted:
    """The networks of a file under our names.

    Args:
        contents: what `torchfile.read` returned.
        path: the file.

    Raises:
        ValueError: if a tensor is missing, left over or of another shape, with the name of the first.
    """
    contents, size = _arranged(contents), path.stat().st_size
    states = {ours: plain_tensors(contents[key], key, size) for key, ours in KEYS.items() if key in contents}
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
    tensors = {f"{name}.{key}": t for name, part in parts.items() for key, t in part.items()}
    return Converted("stylegan2", metadata, tensors)


def to_rosinality(networks: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Our networks as the contents of a converted file, which its `Generator` and `Discriminator` load.

    Args:
        networks: of G_ema, G and D those to write, G_ema among them.

    Raises:
        ValueError: if its graph cannot hold a network, with the reason.
    """
    if "G_ema" not in networks:
        raise ValueError("a file of rosinality's program needs an averaged generator, and there is no G_ema: add it")
    contents: dict[str, Any] = {}
    for theirs, ours in KEYS.items():
        if ours in networks:
            _check(ours, networks[ours].config)
            contents[theirs] = _theirs(networks[ours])
    contents[AVERAGE] = networks["G_ema"].get_buffer("mapping.w_average").float().cpu().clone()
    return contents


def write_rosinality(path: Path, networks: Mapping[str, nn.Module]) -> None:
    """Write `to_rosinality` of the networks to a file, atomically.

    Raises:
        ValueError: as `to_rosinality`.
    """
    contents = to_rosinality(networks)
    with replacing(path) as temporary:
        torch.save(contents, temporary)


def _arranged(contents: Any) -> dict[str, Any]:
    """The contents with the keys of a checkpoint; empty for another program's. The last of two generators is g_ema."""
    if isinstance(contents, Mapping):
        kind = _kind(contents)
        known = {key: value for key, value in contents.items() if key not in KEYS or value is not None}
        return {kind: contents} if kind else known if known.keys() & KEYS.keys() else {}
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


def _ours(state: Mapping[str, Tensor], built: nn.Module) -> dict[str, Tensor]:
    """Their tensors under our names."""
    state, where = dict(state), {theirs: ours for ours, theirs in names(built).items()}
    if isinstance(built, Generator) and not any(name.startswith("noises.") for name in state):
        # The first versions kept no noise: draw it from a fixed seed.
        source, own = torch.Generator().manual_seed(0), built.state_dict()
        noises = {theirs: own[name].shape for theirs, name in where.items() if name.endswith("noise.fixed")}
        state |= {name: torch.randn(their_shape(name, shape), generator=source) for name, shape in noises.items()}
    for name, filter_ in filters(built).items():
        found = state.pop(name, filter_)
        if found.shape != filter_.shape or not torch.allclose(found.float(), filter_, atol=1e-6):
            raise ValueError(f"its {name} is another filter, expected 1 3 3 1")
    return renamed(state, where, built, their_shape)


def _theirs(network: nn.Module) -> dict[str, Tensor]:
    """Our tensors under their names."""
    plain = torch.contiguous_format  # ours are in the layout that convolutions read
    own = {name: t.float().cpu().clone(memory_format=plain) for name, t in network.state_dict().items()}
    moved = {theirs: own[name].reshape(their_shape(theirs, own[name].shape)) for name, theirs in names(network).items()}
    return moved | filters(network)


def _check(name: str, config: Any) -> None:
    """Refuse what its graph cannot hold."""
    widths = [config.channels_at(k) for k in range(config.doublings + 1)]
    beyond = {width * (4 << k) / PER_MULTIPLIER for k, width in enumerate(widths) if k > 3}  # the channel_multiplier
    architecture = "residual" if isinstance(config, DiscriminatorConfig) else "skip"
    reasons = {
        f"it has {config.classes} classes": config.classes > 0,
        f"its images have {config.channels} channels, expected RGB": config.channels != CHANNELS,
        f"its images are {config.height} x {config.width}, expected a square with a power of two a side": (
            config.height != config.width or config.base != (4, 4)
        ),
        f"its widths are not {WIDEST} up to 32 x 32, and then a multiple of {PER_MULTIPLIER} / size": (
            set(widths[:4]) != {WIDEST} or len(beyond) > 1 or any(width != int(width) for width in beyond)
        ),
        f"it is of the {config.architecture} architecture, expected {architecture}": (
            config.architecture != architecture
        ),
        "its z and w have different widths": getattr(config, "z_dim", 0) != getattr(config, "w_dim", 0),
        f"its minibatch statistics are not over {GROUP} samples": getattr(config, "mbstd_group", GROUP) != GROUP,
    }
    for reason, applies in reasons.items():
        if applies:
            raise ValueError(f"{name} has no place in a file of rosinality's program: {reason}")


def _generator_config(state: Mapping[str, Tensor]) -> GeneratorConfig:
    """The sizes of a generator, by its tensors."""
    layers = sum(1 for name in state if re.fullmatch(r"style\.\d+\.weight", name))
    doublings = sum(1 for name in state if re.fullmatch(r"to_rgbs\.\d+\.bias", name))
    if not 1 <= layers <= 32:
        raise ValueError(f"it has {layers} layers style.…")
    convs = ["conv1", *(f"convs.{2 * i + 1}" for i in range(min(doublings, MOST_DOUBLINGS)))]
    image = _image(doublings, "to_rgbs.…", [f"{conv}.activate.bias" for conv in convs], state)
    z_dim, w_dim = length(state, "style.1.weight", 1), length(state, "style.1.weight", 0)
    if max(z_dim, w_dim) > WIDEST_W:
        raise ValueError(f"its latents have {max(z_dim, w_dim)} dimensions, expected at most {WIDEST_W}")
    return configs.from_dict(GeneratorConfig, image | {"mapping_layers": layers, "z_dim": z_dim, "w_dim": w_dim})


def _image_config(state: Mapping[str, Tensor]) -> ImageConfig:
    """The sizes of a discriminator, by its tensors."""
    doublings = sum(1 for name in state if re.fullmatch(r"convs\.[0-9]+\.conv1\.1\.bias", name))
    blocks = range(min(doublings, MOST_DOUBLINGS), 0, -1)
    biases = ["final_conv.1.bias", *(f"convs.{number}.conv1.1.bias" for number in blocks)]
    return configs.from_dict(ImageConfig, _image(doublings, "convs.…", biases, state))


def _image(doublings: int, blocks: str, biases: list[str], state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Size and widths of a network with these biases, from the smallest size to the largest."""
    if not 1 <= doublings <= MOST_DOUBLINGS:
        raise ValueError(f"it has {doublings} blocks {blocks}")
    sizes = [4 << k for k in range(doublings + 1)]
    base, most = width_rule(sizes, [length(state, name, 0) for name in biases], Settings())
    size = {"height": sizes[-1], "width": sizes[-1], "channels": CHANNELS}
    return size | {"channel_base": base, "channel_max": most}


def _discriminator_config(config: ImageConfig) -> DiscriminatorConfig:
    shared = {name: getattr(config, name) for name in ImageConfig.model_fields}
    return DiscriminatorConfig(**shared, architecture="residual", mbstd_group=GROUP)


def _average(known: Tensor | None, own: Mapping[str, Tensor], config: GeneratorConfig) -> tuple[Tensor, str]:
    """The average w, and where it comes from."""
    if known is not None:
        if known.numel() != config.w_dim:
            raise ValueError(f"{AVERAGE} has {known.numel()} numbers, expected {config.w_dim}, the width of w")
        return known.reshape(config.w_dim), AVERAGE
    mapping = MappingNetwork(config.z_dim, 0, config.w_dim, config.mapping_layers, track_average=False)
    mapping.load_state_dict({name: own[f"mapping.{name}"] for name in mapping.state_dict()})
    return average_w(mapping, config.z_dim, sum(t.numel() for t in mapping.parameters()))
