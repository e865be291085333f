"""The file of a network: a safetensors file with tensors named `PART.tensor`, and metadata that rebuild the parts.

Opening a file runs no code in it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter, ValidationError

from models.family import Family
from models.foreign import Told, open_foreign
from models.places import CONFIG, KINDS, MODEL, locate
from system.text import printable, public, public_values
from system.untrusted import mistaken
from torch_utils import checkpoint, config
from torch_utils.runs import STATE_FORMAT, newest_in

FORMATS = ("network", "stylegan2-network")  # the first is written; the second was, while there was one family
VERSION = 1
DEFINING = ("format", "version", "family")  # and the configuration of each part
LARGEST_CONFIG = 2**24  # bytes
MOST_FACTS = 1000  # about the data set
LONGEST = 2**24  # characters of a fact as JSON

_Name = Annotated[str, Field(max_length=1000)]
_Count = Annotated[int, Field(ge=0, lt=2**53)]
_FACTS: dict[str, Any] = {  # other facts may be any JSON value of moderate size
    "kimg": Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)],  # thousands of training images
    "data": dict[str, Any],  # about the images that a network was trained on
    "training": dict[str, Any],  # the configuration of the run
    "source": dict[str, Any],  # of a file of another program
    "data.name": _Name,
    "data.fingerprint": _Name,
    "data.images": _Count,
    "data.class_names": list[_Name],  # one for each class of the network
    "data.class_counts": list[_Count],  # likewise: images of each class
}
_FORMS = {name: TypeAdapter(form) for name, form in _FACTS.items()}

Families = Mapping[str, Family]


@dataclass(frozen=True)
class NetworkFile:
    """The contents of a network file: checked tensors and metadata."""

    path: Path
    family: Family
    metadata: dict[str, Any]  # as `checked` returns it
    tensors: dict[str, torch.Tensor]
    place: str = ""  # where the file came from, if not from a path: a URL without its secrets, or a name

    def __str__(self) -> str:
        """The name of the file in sentences and records."""
        return public(self.place) or str(self.path)

    def require(self, family: Family, option: str) -> None:
        """Raise ValueError unless the networks are of `family`, for an option or a script that works on no other."""
        if self.family is not family:
            raise ValueError(
                f"{option} needs a network of {family.title}, but {self} holds a network of {self.family.title}"
            )

    @property
    def parts(self) -> list[str]:
        """The names of the family's parts that the file holds."""
        return [name for name in self.family.parts if any(t.startswith(name + ".") for t in self.tensors)]

    @property
    def shown(self) -> str:
        """The name of the part that makes pictures, or of another part that the file was expected to hold."""
        parts = self.parts
        return next((name for name in self.family.shown if name in parts), next(iter(self.family.parts)))

    @property
    def left_out(self) -> dict[str, str]:
        """The parts of another program's file that could not be built here, each with the reason."""
        found = self.metadata.get("source", {}).get("left_out")
        items = found.items() if isinstance(found, dict) else ()
        optional = {name for name, part in self.family.parts.items() if part.optional}
        return {name: printable(reason) for name, reason in items if name in optional and isinstance(reason, str)}

    def part(self, name: str) -> torch.nn.Module:
        """Build one network, in float32 on the CPU, ready for use.

        Raises ValueError if the file lacks the network, or its tensors do not fit its configuration.
        """
        if name not in self.parts:
            reason = f" ({self.left_out[name]})" if name in self.left_out else ""
            raise ValueError(f"{self} has no {name}{reason}, only {', '.join(self.parts)}: take another network file")
        part = self.family.parts[name]
        settings = self.metadata.get(part.config_name)
        try:
            settings = config.from_dict(part.config, settings if isinstance(settings, dict) else {"": settings})
        except ValueError as error:
            reason = f"the configuration of {name} is invalid: {printable(str(error))}"
            raise checkpoint.DamagedError(self.path, reason) from error
        with torch.device("meta"):
            network = part.build(settings)
        prefix = name + "."
        own = {key.removeprefix(prefix): t.float() for key, t in self.tensors.items() if key.startswith(prefix)}
        for key, built in network.state_dict().items():
            if key in own and own[key].shape == built.shape:
                # Files hold contiguous tensors; networks are built in the memory layout that is fastest to read.
                own[key] = torch.empty_strided(built.shape, built.stride()).copy_(own[key])
        try:
            network.load_state_dict(own, assign=True)
        except RuntimeError as error:
            misfit = f"the tensors of {name} do not fit its configuration"
            raise checkpoint.DamagedError(self.path, misfit) from error
        return network.requires_grad_(False).eval()


def save(
    path: Path, family: Family, networks: Mapping[str, torch.nn.Module], facts: Mapping[str, Any], dtype: torch.dtype
) -> None:
    """Write networks of a family to one file. Arguments as of `models.families.save_network`."""
    own = {*DEFINING, *(part.config_name for part in family.parts.values())}
    metadata: dict[str, Any] = {key: value for key, value in facts.items() if key not in own}
    metadata = public_values(metadata) | {"format": FORMATS[0], "version": VERSION, "family": family.name}
    tensors: dict[str, torch.Tensor] = {}
    for name, network in networks.items():
        settings: Any = network.config
        metadata[family.parts[name].config_name] = config.to_dict(settings)
        tensors |= {f"{name}.{key}": t.to(dtype) for key, t in network.state_dict().items()}
    checkpoint.save(path, tensors, metadata)


def read(place: Path | str, families: Families, told: Told) -> NetworkFile:
    """Read a network file of one of the families. Arguments and errors as of `models.families.read_network`."""
    read: dict[Path, tuple[Family, dict[str, Any], dict[str, torch.Tensor]]] = {}

    def check(path: Path) -> None:  # of a download, which is then not read again
        read[path] = _contents(path, families, told)

    published = {name: known for family in families.values() for name, known in family.published.items()}
    path = locate(place, published, check)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {public(str(place))}: give {KINDS}")
    elsewhere = "" if path == Path(place) else public(str(place))
    if path.is_dir():
        folder, path = path, _network_in(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} is a folder without networks: give the folder of a run that has one, a folder of the Hub "
                f"with its {MODEL}, or a file"
            )
    family, metadata, tensors = read[path] if path in read else _contents(path, families, told)
    configs = [part.config_name for part in family.parts.values()]
    return NetworkFile(path, family, checked(metadata, configs), tensors, elsewhere)


def outline(place: Path | str, families: Families) -> tuple[Path, Family] | None:
    """The path of a network file of ours on this machine and its family, from the file's header alone, unchecked.

    None for any other place, which `read` opens or refuses.
    """
    path = Path(place)
    path = _network_in(path) if path.is_dir() else path
    stated = checkpoint.header(path) if path.is_file() else {}
    family, version = stated.get("family"), stated.get("version")
    known = stated.get("format") in FORMATS and type(version) is int and version <= VERSION
    return (path, families[family]) if known and isinstance(family, str) and family in families else None


def _network_in(folder: Path) -> Path:
    """Where the network of a run folder, or of a folder of the Hub, is if there is one."""
    return newest_in(folder) or folder / MODEL


def wanted(families: Families) -> str:
    """What to give, in a sentence: the kinds of file that are read."""
    programs = dict.fromkeys(reader.title for family in families.values() for reader in family.foreign)
    return f"give a network-….safetensors of a run, or a file of {' or '.join(programs)}"


def _contents(path: Path, families: Families, told: Told) -> tuple[Family, dict[str, Any], dict[str, torch.Tensor]]:
    """The family of a file, its metadata, and its tensors."""
    readers = [reader for family in families.values() for reader in family.foreign]
    if path.is_file() and (what := mistaken(path)):
        raise ValueError(f"{path} is {what}: {wanted(families)}")
    if found := open_foreign(path, readers, told):
        stated = {"format": FORMATS[0], "version": VERSION, "family": found.family}
        return families[found.family], stated | found.metadata, found.tensors
    if told.something:
        raise ValueError(f"{path} is no file of another program, so options about its networks do not apply")
    tensors, metadata = _load(path, families)
    if metadata.get("format") not in FORMATS:
        is_state = metadata.get("format") == STATE_FORMAT
        what = "the state of a training run and no network" if is_state else "not a network file"
        raise ValueError(f"{path} is {what}: {wanted(families)}")
    version, name = metadata.get("version"), metadata.get("family")
    if type(version) is not int or not isinstance(name, str):
        raise checkpoint.DamagedError(path, "its metadata lack a version or a family")
    if version > VERSION or name not in families:
        raise ValueError(
            f"{path} holds networks of the family {printable(name, 40)!r} in format {printable(str(version), 20)}, "
            f"for which this program is too old: update it"
        )
    return families[name], metadata, tensors


def checked(metadata: Mapping[str, Any], configs: Collection[str]) -> dict[str, Any]:
    """The metadata without malformed or oversized facts, which a stranger may have written. Networks need no facts.

    `configs` are the keys of the parts' configurations, which are checked where networks are built. `class_names` and
    `class_counts` of the data have one entry for each class of the network, or are missing.
    """
    defining = {*DEFINING, *configs}
    facts = {key: value for key, value in metadata.items() if key in defining or _fits(key, value)}
    tables = [metadata.get(name) for name in configs]
    classes = next((table["classes"] for table in tables if isinstance(table, dict) and "classes" in table), 0)
    if (data := facts.pop("data", None)) is not None and len(data) <= MOST_FACTS:
        each = ("class_names", "class_counts")
        fitting = {key: value for key, value in data.items() if _fits(f"data.{key}", value)}
        facts["data"] = {k: value for k, value in fitting.items() if k not in each or len(value) in (0, classes)}
    return facts


def _fits(key: str, value: Any) -> bool:
    """Whether a value is finite, short as JSON, and of its form."""
    try:
        if key in _FORMS:
            _FORMS[key].validate_python(value, strict=True)
        return len(json.dumps(value, allow_nan=False)) <= LONGEST
    except (ValidationError, ValueError, RecursionError, OverflowError):
        return False


def _load(path: Path, families: Families) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """As `checkpoint.load`; files of other kinds are not called damaged.

    A model of the Hub that another program wrote, without our metadata, takes them from the configuration beside it.
    """
    config = path.with_name(CONFIG)
    beside = path.name == MODEL and path.is_file() and config.is_file()
    stated = _config(config) if beside else {}
    try:
        tensors, metadata = checkpoint.load(path)
    except checkpoint.DamagedError as error:
        is_foreign = isinstance(error, checkpoint.ForeignError)
        if is_foreign and beside:
            return checkpoint.load(path, check=False)[0], stated
        if path.suffix.lower() == ".safetensors" and not is_foreign:
            raise
        raise ValueError(f"{path} is not a network file: {wanted(families)}") from error
    for key in ["family", *(part.config_name for family in families.values() for part in family.parts.values())]:
        if key in stated and stated[key] != metadata.get(key):
            raise ValueError(
                f"{path} and the {CONFIG} beside it disagree about {key}: take both from one place, or remove {CONFIG}"
            )
    return tensors, metadata


def _config(path: Path) -> dict[str, Any]:
    if path.stat().st_size > LARGEST_CONFIG:
        raise ValueError(f"{path} is too large for a configuration: take the file that came with the network")
    try:
        return TypeAdapter(dict[str, Any]).validate_json(path.read_bytes())
    except ValidationError as error:
        raise checkpoint.DamagedError(path, "it is not a table in JSON") from error
