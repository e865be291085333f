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
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.foreign.architecture import BuiltNetwork, NetworkSettings, check_filter, config_of, converted
from models.stylegan2.foreign.rosinality_names import filters, names, official_names, plain, their_shape
from models.stylegan2.foreign.tensors import average_w, renamed
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
MOST_LAYERS = 32  # of the mapping network
MOST_IN_A_ROW = 16  # state dicts in a list
WIDEST = 512  # feature maps up to 32 x 32
PER_MULTIPLIER = 16384  # feature maps times resolution beyond 32 x 32, for each unit of channel_multiplier


def claims(contents: Any) -> bool:
    """Whether contents are a checkpoint of this program, or state dicts of it alone or in a list."""
    return bool(_arranged(contents))


def from_rosinality(contents: Any, path: Path) -> Converted:
    """The networks of a file under our names; `contents` is what `torchfile.read` returned.

    Raises:
        ValueError: if a tensor is missing, left over or of another shape, with the name of the first.
    """
    contents, size = _arranged(contents), path.stat().st_size
    states = {ours: plain_tensors(contents[key], key, size) for key, ours in KEYS.items() if key in contents}
    known = plain_tensors({key: contents[key] for key in (AVERAGE,) if key in contents}, "contents", size)
    source = {"format": f"rosinality .pt ({'training' if 'g_optim' in contents else 'converted'})"}
    found = converted(states, lambda name: _read(name, states[name]), source)
    generators = [name for name in states if name != "D"]
    if generators:
        config = configs.from_dict(GeneratorConfig, found.metadata["generator"])
        average, source["w_average"] = _average(known.get(AVERAGE), found.tensors, generators[0], config)
        found.tensors.update({f"{name}.mapping.w_average": average.clone() for name in generators})
    return found


def _read(name: str, state: dict[str, Tensor]) -> BuiltNetwork:
    """The network of a state dict; a generator lacks its average w."""
    kind, start = (DiscriminatorConfig, "convs") if name == "D" else (GeneratorConfig, "to_rgbs")
    first = r"\.[1-9]\d?\." if name == "D" else r"\.\d\d?\."
    doublings = len({key.split(".")[1] for key in state if re.match(start + first, key)})
    layers = sum(1 for key in state if re.fullmatch(r"style\.\d+\.weight", key))
    if not 1 <= doublings <= MOST_DOUBLINGS or (name != "D" and not 1 <= layers <= MOST_LAYERS):
        raise ValueError(f"it has {doublings} blocks {start}.… and {layers} layers style.…")
    size = {"height": 4 << doublings, "width": 4 << doublings, "mapping_layers": layers or 1}
    places = {theirs: ours for ours, theirs in names(kind(**size)).items()}
    official = official_names(kind(**size))
    shapes = {official[ours]: plain(theirs, state[theirs]) for theirs, ours in places.items() if theirs in state}
    config, network = config_of(name, shapes, NetworkSettings(mbstd_group=GROUP))
    return BuiltNetwork(config, network, places, _ours(state, network))


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
    rows = contents[:MOST_IN_A_ROW] if isinstance(contents, list | tuple) else []
    states: dict[str, Any] = {}
    for state in rows:
        kind = _kind(state) if isinstance(state, Mapping) else ""
        states |= {"g": states["g_ema"]} if kind == "g_ema" and kind in states else {}
        states |= {kind: state} if kind else {}
    return states


def _kind(state: Mapping[Any, Any]) -> str:
    """The key of a state dict in a checkpoint; "" for another program's."""
    return next((key for key, sign in SIGNS.items() if sign in state), "")


def _ours(state: Mapping[str, Tensor], built: nn.Module) -> dict[str, Tensor]:
    """Their tensors under our names."""
    state, where = dict(state), {theirs: ours for ours, theirs in names(built.config).items()}
    if isinstance(built, Generator) and not any(name.startswith("noises.") for name in state):
        # The first versions kept no noise: draw it from a fixed seed.
        source, own = torch.Generator().manual_seed(0), built.state_dict()
        noises = {theirs: own[name].shape for theirs, name in where.items() if name.endswith("noise.fixed")}
        state |= {name: torch.randn(their_shape(name, shape), generator=source) for name, shape in noises.items()}
    for name, filter_ in filters(built).items():
        found = state.pop(name, filter_)
        check_filter(name, found, filter_)
    return renamed(state, where, built, their_shape)


def _theirs(network: nn.Module) -> dict[str, Tensor]:
    """Our tensors under their names."""
    plain = torch.contiguous_format  # ours are in the layout that convolutions read
    own = {name: t.float().cpu().clone(memory_format=plain) for name, t in network.state_dict().items()}
    moved = {
        theirs: own[name].reshape(their_shape(theirs, own[name].shape))
        for name, theirs in names(network.config).items()
    }
    return moved | filters(network)


def _check(name: str, config: Any) -> None:
    """Refuse what its graph cannot hold."""
    architecture = "residual" if isinstance(config, DiscriminatorConfig) else "skip"
    expected = {"classes": 0, "channels": CHANNELS, "width": config.height, "base": (4, 4)}
    expected |= {"architecture": architecture, "mbstd_group": GROUP, "z_dim": getattr(config, "w_dim", 0)}
    differing = [key for key, value in expected.items() if getattr(config, key, value) != value]
    reasons = [f"its {key} is {getattr(config, key)}, expected {expected[key]}" for key in differing]
    widths = [config.channels_at(k) for k in range(config.doublings + 1)]
    beyond = {width * (4 << k) / PER_MULTIPLIER for k, width in enumerate(widths) if k > 3}  # the channel_multiplier
    if set(widths[:4]) != {WIDEST} or len(beyond) > 1 or any(width != int(width) for width in beyond):
        reasons.append(f"its widths are not {WIDEST} up to 32 x 32, and then a multiple of {PER_MULTIPLIER} / size")
    if reasons:
        raise ValueError(f"{name} has no place in a file of rosinality's program: {reasons[0]}")


def _average(known: Tensor | None, tensors: Mapping[str, Tensor], name: str, config: Any) -> tuple[Tensor, str]:
    """The average w, and where it comes from."""
    if known is not None:
        if known.numel() != config.w_dim:
            raise ValueError(f"{AVERAGE} has {known.numel()} numbers, expected {config.w_dim}, the width of w")
        return known.reshape(config.w_dim), AVERAGE
    mapping = MappingNetwork(config.z_dim, 0, config.w_dim, config.mapping_layers, track_average=False)
    mapping.load_state_dict({key: tensors[f"{name}.mapping.{key}"] for key in mapping.state_dict()})
    return average_w(mapping, config.z_dim, sum(t.numel() for t in mapping.parameters()))
