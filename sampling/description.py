"""What a network file holds, in words."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from imaging.pixels import MODES
from imaging.sizes import spell
from imaging.transforms import NAMES
from models.families import NetworkFile
from models.summary import parameter_count
from sampling.classes import class_names, listed
from system.text import printable
from torch_utils.cli import counted

ROLES = {"G_ema": "the averaged generator", "G": "the generator as trained", "D": "the discriminator"}


def describe(file: NetworkFile, networks: Mapping[str, nn.Module]) -> str:
    """A few lines: format, images, classes, latents, training and every part with its parameters.

    Args:
        file: the network file.
        networks: all its parts, built.
    """
    config: Any = next(iter(networks.values())).config
    names = class_names(file.metadata, config.classes)
    facts = {
        "format": _format(file.metadata),
        "images": f"{spell(config.height, config.width)} {NAMES[MODES[config.channels]]}",
        "classes": f"{len(names)} ({listed(names)})" if names else "none",
        "latents": _latents(networks),
        "training": _training(file.metadata),
        **{name: _part(file, name, network) for name, network in networks.items()},
        **{name: f"left out: {reason}" for name, reason in file.left_out.items() if name not in networks},
    }
    return "\n".join([f"network {file}", *(f"  {name:<8}  {fact}" for name, fact in facts.items() if fact)])


def _format(metadata: Mapping[str, Any]) -> str:
    source = metadata.get("source", {})
    ours = f"network of this program, version {metadata['version']}"
    return printable(source["format"]) if "format" in source else ours


def _latents(networks: Mapping[str, nn.Module]) -> str:
    config: Any = next((networks[name].config for name in ("G_ema", "G") if name in networks), None)
    if config is None:
        return ""
    mapping = f"mapping of {counted(config.mapping_layers, 'layer')}"
    return f"z {config.z_dim}, w {config.w_dim} for each of {config.num_ws} layers, {mapping}"


def _training(metadata: Mapping[str, Any]) -> str:
    data, preset = metadata.get("data", {}), metadata.get("training", {}).get("preset")
    facts = [f"{metadata['kimg']:g} kimg"] if "kimg" in metadata else []
    if data.get("name"):
        facts.append(f"on {printable(data['name'])}" + (f", {data['images']} images" if data.get("images") else ""))
    if preset:
        facts.append(f"preset {printable(preset)}")
    return ", ".join(facts)


def _part(file: NetworkFile, name: str, network: nn.Module) -> str:
    tensors = [t for key, t in file.tensors.items() if key.startswith(name + ".")]
    size = sum(t.numel() * t.element_size() for t in tensors)
    types = " and ".join(sorted({str(t.dtype).removeprefix("torch.") for t in tensors}))
    return f"{ROLES[name]}: {parameter_count(network):,} parameters, {size / 2**20:.1f} MiB in {types}"
