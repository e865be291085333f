"""What a network file holds, in words."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from models.families import NetworkFile
from models.summary import parameter_count
from sampling.classes import class_names, kind_of, listed
from system.text import printable


def describe(file: NetworkFile, networks: Mapping[str, nn.Module]) -> str:
    """A few lines: format, images, classes, facts of the family, training, and every part with its parameters.

    Args:
        file: the network file.
        networks: all its parts, built.
    """
    family = file.family
    shape = family.shape(next(iter(networks.values())).config)
    names = class_names(file.metadata, shape.classes)
    facts = {
        "format": _format(file.metadata),
        "images": kind_of(shape),
        "classes": f"{len(names)} ({listed(names)})" if names else "none",
        **(family.facts(networks[file.shown].config) if file.shown in networks else {}),
        "training": _training(file.metadata),
        **{name: _part(file, name, network) for name, network in networks.items()},
        **{name: f"left out: {reason}" for name, reason in file.left_out.items() if name not in networks},
    }
    return "\n".join([f"network {file}", *(f"  {name:<8}  {fact}" for name, fact in facts.items() if fact)])


def _format(metadata: Mapping[str, Any]) -> str:
    source = metadata.get("source", {})
    ours = f"network of this program, version {metadata['version']}"
    return printable(source["format"]) if "format" in source else ours


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
    role = file.family.parts[name].role
    return f"{role}: {parameter_count(network):,} parameters, {size / 2**20:.1f} MiB in {types}"
