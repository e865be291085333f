"""Files of rosinality/stylegan2-pytorch, read and written. Its graph computes what ours computes; names differ.

Files of its training hold `g`, `d`, `g_ema`, both optimizers, the options and the probability of augmentation; files
converted from official ones hold `g_ema`, `latent_avg` and sometimes `g` and `d`. Weights carry the same gains as ours.

Its graph supports square RGB images without classes, output skips in G, residual blocks in D, and groups of 4 samples
in the minibatch statistics. A limit of a convolution's output matters to float16 only and is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from models.foreign import Converted, Foreign
from models.stylegan2 import discriminator, generator
from models.stylegan2 import layers as blocks
from models.stylegan2 import mapping as mappings
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.foreign import architecture
from system.files import replacing
from torch_utils import config as configs
from torch_utils import torchfile

KEYS = {"g_ema": "G_ema", "g": "G", "d": "D"}  # of a checkpoint, with our names
SIGNS = {"g_ema": "input.input", "d": "final_conv.0.weight"}  # a tensor of each kind of state dict
AVERAGE = "latent_avg"
MOST_DOUBLINGS, MOST_LAYERS = 9, 32  # images of 2048 x 2048; layers of the mapping network
GROUP = 4  # samples that share a minibatch standard deviation
MOST_IN_A_ROW = 16  # state dicts in a list
WIDEST = 512  # feature maps up to 32 x 32
PER_MULTIPLIER = 16384  # feature maps times resolution beyond 32 x 32, for each unit of channel_multiplier

_RULES: architecture.Rules = (
    (r"mapping\.layers\.(\d+)", lambda i: f"style.{i + 1}"),
    (r"synthesis\.const", "input.input"),
    (r"synthesis.*\.(\d+)\.conv(\d)\.noise\.fixed", lambda k, conv: f"noises.noise_{2 * k - 1 + conv if k else 0}"),
    (r"synthesis\.blocks\.0\.conv1", "conv1"),
    (r"synthesis\.blocks\.(\d+)\.conv(\d)", lambda k, conv: f"convs.{2 * k - 2 + conv}"),
    (r"synthesis\.blocks\.0\.rgb", "to_rgb1"),
    (r"synthesis\.blocks\.(\d+)\.rgb", lambda k: f"to_rgbs.{k - 1}"),
    (r"\.affine", ".conv.modulation"),
    (r"\.noise\.strength", ".noise.weight"),
    (r"^(conv1|convs\.\d+)\.bias", r"\1.activate.bias"),
    (r"^from_rgb\.weight", "convs.0.0.weight"),  # from here on of a discriminator
    (r"^from_rgb\.bias", "convs.0.1.bias"),
    (r"^blocks\.(\d+)", lambda i: f"convs.{i + 1}"),
    (r"\.conv1\.weight", ".conv2.1.weight"),
    (r"\.conv1\.bias", ".conv2.2.bias"),
    (r"\.conv0\.weight", ".conv1.0.weight"),
    (r"\.conv0\.bias", ".conv1.1.bias"),
    (r"\.skip\.weight", ".skip.1.weight"),
    (r"^tail\.conv\.weight", "final_conv.0.weight"),
    (r"^tail\.conv\.bias", "final_conv.1.bias"),
    (r"^tail\.fc", "final_linear.0"),
    (r"^tail\.out", "final_linear.1"),
)
_AXES = {  # axes of length 1 before and after ours, by their names; 0 and 0 for all others
    r"input\.input|.*\.noise\.weight|(conv1|convs\.\d+|to_rgb1|to_rgbs\.\d+)\.conv\.weight": (1, 0),
    r"noises\.noise_\d+": (2, 0),
    r"(to_rgb1|to_rgbs\.\d+)\.bias": (1, 2),
}


def from_rosinality(contents: Any, path: Path) -> Converted:
    """The networks of a file under our names; `contents` is what `torchfile.read` returned.

    Raises ValueError with the name of the first tensor that is missing, left over or of another shape.
    """
    contents, size = _arranged(contents), path.stat().st_size
    states = {ours: torchfile.plain_tensors(contents[key], key, size) for key, ours in KEYS.items() if key in contents}
    known = torchfile.plain_tensors({key: contents[key] for key in (AVERAGE,) if key in contents}, "contents", size)
    source = {"format": f"rosinality .pt ({'training' if 'g_optim' in contents else 'converted'})"}
    found = architecture.converted(states, lambda name: _read(name, states[name]), source)
    generators = [name for name in states if name != "D"]
    if generators:
        config = configs.from_dict(GeneratorConfig, found.metadata["generator"])
        average, source["w_average"] = _average(known.get(AVERAGE), found.tensors, generators[0], config)
        found.tensors.update({f"{name}.mapping.w_average": average.clone() for name in generators})
    return found


ROSINALITY = Foreign(
    "rosinality's stylegan2-pytorch", torchfile.begins_so, torchfile.read, lambda c: bool(_arranged(c)), from_rosinality
)


def to_rosinality(networks: Mapping[str, torch.nn.Module]) -> dict[str, Any]:
    """G_ema, and G and D if given, as the contents of a converted file, which its `Generator` and `Discriminator` load.

    Raises ValueError if its graph cannot hold a network, with the reason.
    """
    if "G_ema" not in networks:
        raise ValueError("a file of rosinality's program needs an averaged generator, and there is no G_ema: add it")
    contents: dict[str, Any] = {}
    for theirs, ours in KEYS.items():
        if ours in networks:
            _check(ours, networks[ours].config)
            contents[theirs] = state_of(networks[ours])
    contents[AVERAGE] = networks["G_ema"].get_buffer("mapping.w_average").float().cpu().clone()
    return contents


def write_rosinality(path: Path, networks: Mapping[str, torch.nn.Module]) -> None:
    """Write `to_rosinality` of the networks to a file, atomically."""
    contents = to_rosinality(networks)
    with replacing(path) as temporary:
        torch.save(contents, temporary)


def state_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state dict of a network in their program."""
    state: dict[str, torch.Tensor] = {}
    own = network.state_dict()
    for theirs, ours in _names(network).items():
        before, after = _axes(theirs)
        tensor = own[ours].float().cpu().clone(memory_format=torch.contiguous_format)
        state[theirs] = tensor.reshape((1,) * before + tuple(tensor.shape) + (1,) * after)
    return state | _filters(network)


def _read(name: str, state: dict[str, torch.Tensor]) -> architecture.Built:
    """The network of a state dict; a generator lacks its average w."""
    start, first = ("convs", r"\.[1-9]\d?\.") if name == "D" else ("to_rgbs", r"\.\d\d?\.")
    doublings = len({key.split(".")[1] for key in state if re.match(start + first, key)})
    layers = sum(1 for key in state if re.fullmatch(r"style\.\d+\.weight", key))
    if not 1 <= doublings <= MOST_DOUBLINGS or (name != "D" and not 1 <= layers <= MOST_LAYERS):
        raise ValueError(f"it has {doublings} blocks {start}.… and {layers} layers style.…")
    size = {"height": 4 << doublings, "width": 4 << doublings, "mapping_layers": layers or 1}
    with torch.device("meta"):  # as large, with the same names
        same = (
            discriminator.Discriminator(DiscriminatorConfig(**size))
            if name == "D"
            else generator.Generator(GeneratorConfig(**size))
        )
    official, shapes = {ours: theirs for theirs, ours in architecture.official_names(same).items()}, {}
    for theirs, ours in _names(same).items():
        if theirs in state:
            before, after = _axes(theirs)
            shapes[official[ours]] = tuple(state[theirs].shape[before : state[theirs].ndim - after])
    network = architecture.network_of(name, shapes, group=GROUP)
    names, own = _names(network), dict(state)
    if name != "D" and not any(key.startswith("noises.") for key in state):
        # The first versions kept no noise: draw it from a fixed seed.
        source, fixed = torch.Generator().manual_seed(0), network.state_dict()
        noises = {theirs: fixed[key].shape for theirs, key in names.items() if key.endswith("noise.fixed")}
        own |= {theirs: torch.randn(shape, generator=source) for theirs, shape in noises.items()}
    for key, filter_ in _filters(network).items():
        architecture.check_filter(key, own.pop(key, filter_), filter_)
    return network, architecture.renamed(own, names, network)


def _names(network: torch.nn.Module) -> dict[str, str]:
    """Their name -> ours, for every tensor but the average w, which a file holds beside the state dicts."""
    return architecture.translated((name for name in network.state_dict() if name != "mapping.w_average"), _RULES)


def _axes(theirs: str) -> tuple[int, int]:
    return next((axes for pattern, axes in _AXES.items() if re.fullmatch(pattern, theirs)), (0, 0))


def _filters(network: Any) -> dict[str, torch.Tensor]:
    """The low-pass filters that a state dict repeats for every resampling layer; those of a generator have gain 4."""
    f, steps = blocks.blur(torch.device("cpu")), range(network.config.doublings)
    if isinstance(network, discriminator.Discriminator):
        return {f"convs.{i + 1}.{branch}.0.kernel": f.clone() for i in steps for branch in ("conv2", "skip")}
    kernels = [name for i in steps for name in (f"convs.{2 * i}.conv.blur.kernel", f"to_rgbs.{i}.upsample.kernel")]
    return {name: 4 * f for name in kernels}  # noqa: C420 (a tensor for each)


def _arranged(contents: Any) -> dict[str, Any]:
    """The contents with the keys of a checkpoint; empty for another program's. The last of two generators is g_ema."""
    rows = contents[:MOST_IN_A_ROW] if isinstance(contents, list | tuple) else [contents]
    states: dict[str, Any] = {}
    for state in rows:
        kinds = [key for key, sign in SIGNS.items() if sign in state] if isinstance(state, Mapping) else []
        for kind in kinds[:1]:
            states |= {"g": states["g_ema"]} if kind == "g_ema" and kind in states else {}
            states[kind] = state
    if not states and isinstance(contents, Mapping):
        known = {key: value for key, value in contents.items() if key not in KEYS or value is not None}
        return known if known.keys() & KEYS.keys() else {}
    return states


def _check(name: str, config: Any) -> None:
    """Refuse what its graph cannot hold."""
    expected = {"classes": 0, "channels": 3, "width": config.height, "base": (4, 4), "mbstd_group": GROUP}
    expected |= {"architecture": "residual" if name == "D" else "skip", "z_dim": getattr(config, "w_dim", 0)}
    differing = [key for key, value in expected.items() if getattr(config, key, value) != value]
    reasons = [f"its {key} is {getattr(config, key)}, expected {expected[key]}" for key in differing]
    widths = [config.channels_at(k) for k in range(config.doublings + 1)]
    beyond = {width * (4 << k) / PER_MULTIPLIER for k, width in enumerate(widths) if k > 3}  # the channel_multiplier
    if set(widths[:4]) != {WIDEST} or len(beyond) > 1 or any(width != int(width) for width in beyond):
        reasons.append(f"its widths are not {WIDEST} up to 32 x 32, and then a multiple of {PER_MULTIPLIER} / size")
    if reasons:
        raise ValueError(f"{name} has no place in a file of rosinality's program: {reasons[0]}")


def _average(
    known: torch.Tensor | None, tensors: Mapping[str, torch.Tensor], name: str, config: Any
) -> tuple[torch.Tensor, str]:
    """The average w, and where it comes from."""
    if known is not None:
        if known.numel() != config.w_dim:
            raise ValueError(f"{AVERAGE} has {known.numel()} numbers, expected {config.w_dim}, the width of w")
        return known.reshape(config.w_dim), AVERAGE
    mapping = mappings.MappingNetwork(config.z_dim, 0, config.w_dim, config.mapping_layers, track_average=False)
    mapping.load_state_dict({key: tensors[f"{name}.mapping.{key}"] for key in mapping.state_dict()})
    return architecture.average_w(mapping, config.z_dim, sum(t.numel() for t in mapping.parameters()))
