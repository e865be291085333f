"""A network in words: its images and classes, and what its file holds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from imaging.pixels import MODES
from imaging.sizes import spell
from imaging.transforms import NAMES
from models import summary
from models.families import NetworkFile
from models.sampler import Shape, learned_classes
from system.text import printable

LISTED_AT_MOST = 20  # classes in a sentence
LONGEST = 80  # letters of a name in it


def kind_of(shape: Shape) -> str:
    """The images of a shape: `64x32 RGB`, or `RGB of any size` if the height is 0."""
    channels = NAMES[MODES[shape.channels]]
    return f"{spell(shape.height, shape.width)} {channels}" if shape.height else f"{channels} of any size"


def images_of(file: NetworkFile, shape: Shape) -> str:
    """The images of a network, and how long it has learned: `64x64 RGB, 120 kimg`."""
    return kind_of(shape) + (f", {file.metadata['kimg']:g} kimg" if "kimg" in file.metadata else "")


def class_names(metadata: Mapping[str, Any], classes: int) -> list[str]:
    """The names of classes in a network file's checked metadata; their numbers if there are no names."""
    names = metadata.get("data", {}).get("class_names", [])
    return list(names) if len(names) == classes else [str(k) for k in range(classes)]


def class_facts(metadata: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """Metadata for another network file with the same classes: their names, and which were learned."""
    learned = set(learned_classes(metadata, classes))
    facts: dict[str, Any] = {"class_names": class_names(metadata, classes)}
    if len(learned) < classes:
        facts["class_counts"] = [metadata["data"]["class_counts"][k] for k in range(classes)]
    return facts


def find_class(text: str, names: Sequence[str], option: str = "--class") -> int:
    """The number of the class with a name or number. Raise ValueError, with a list of the classes, if it is unknown.

    Names take precedence, as class names may be numbers: 1, 10, 2. Case matters only if two names differ only in it.
    """
    if text in names:
        return list(names).index(text)
    alike = [number for number, name in enumerate(names) if name.casefold() == text.casefold()]
    if len(alike) == 1:
        return alike[0]
    if text.isascii() and text.isdigit() and int(text) < len(names):
        return int(text)
    raise ValueError(f"{option} {printable(text)}: expected one of {len(names)} classes, {listed(names)}")


def find_mixture(text: str, names: Sequence[str]) -> list[tuple[int, float]]:
    """The numbers and weights of classes: `happy:0.7,2:0.3`; the weight is 1 if it is left out. ValueError if unfit."""
    found = []
    for part in map(str.strip, text.split(",")):
        parted = re.fullmatch(r"(.+):([0-9]+\.?[0-9]*(?:e-?[0-9]{1,3})?)", part)
        name, weight = (parted[1], float(parted[2])) if parted else (part, 1.0)
        found.append((find_class(name, names, "--classes"), weight))
    return found


def listed(names: Sequence[str], numbers: Sequence[int] | None = None) -> str:
    """`0 happy, 1 sad, 2 sleepy`; of many classes the first ones and the last. `numbers` are those listed, or all."""
    numbers = range(len(names)) if numbers is None else numbers
    more = f", ... up to {titled(numbers[-1], names)}" if len(numbers) > LISTED_AT_MOST else ""
    return ", ".join(titled(k, names) for k in numbers[:LISTED_AT_MOST]) + more


def titled(number: int, names: Sequence[str]) -> str:
    """`1 sad`, printable on any terminal; the number alone if it is the name as well."""
    name = printable(names[number], LONGEST)
    return name if name == str(number) else f"{number} {name}"


def describe(file: NetworkFile, networks: Mapping[str, torch.nn.Module]) -> str:
    """A few lines: format, images, classes, facts of the family, training, and each of its built `networks`."""
    family = file.family
    shape = family.shape(next(iter(networks.values())).config)
    names, source = class_names(file.metadata, shape.classes), file.metadata.get("source", {})
    ours = f"network of this program, version {file.metadata['version']}"
    facts = {
        "format": printable(source["format"]) if "format" in source else ours,
        "images": kind_of(shape),
        "classes": f"{len(names)} ({listed(names)})" if names else "none",
        **(family.facts(networks[file.shown].config) if file.shown in networks else {}),
        "training": _training(file.metadata),
        **{name: _part(file, name, network) for name, network in networks.items()},
        **{name: f"left out: {reason}" for name, reason in file.left_out.items() if name not in networks},
    }
    return "\n".join([f"network {file}", *(f"  {name:<8}  {fact}" for name, fact in facts.items() if fact)])


def _training(metadata: Mapping[str, Any]) -> str:
    data, preset = metadata.get("data", {}), metadata.get("training", {}).get("preset")
    facts = [f"{metadata['kimg']:g} kimg"] if "kimg" in metadata else []
    if data.get("name"):
        facts.append(f"on {printable(data['name'])}" + (f", {data['images']} images" if data.get("images") else ""))
    if preset:
        facts.append(f"preset {printable(preset)}")
    return ", ".join(facts)


def _part(file: NetworkFile, name: str, network: torch.nn.Module) -> str:
    tensors = [t for key, t in file.tensors.items() if key.startswith(name + ".")]
    size = sum(t.numel() * t.element_size() for t in tensors)
    types = " and ".join(sorted({str(t.dtype).removeprefix("torch.") for t in tensors}))
    role = file.family.parts[name].role
    return f"{role}: {summary.parameter_count(network):,} parameters, {size / 2**20:.1f} MiB in {types}"
