"""Families of networks, and the file that any of them is kept in.

A network file is a safetensors file: tensors named `G_ema.…`, `G.…` and `D.…`, and the configuration that rebuilds
the modules. Opening one runs no code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from models import hubfolder
from models.metadata import checked
from models.places import KINDS, locate
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.foreign.lucidrains import LucidrainsConfig, LucidrainsGenerator
from models.stylegan2.foreign.opening import is_foreign, open_foreign
from models.stylegan2.generator import Generator
from system.content import mistaken
from system.text import printable
from system.urls import public, public_values
from torch_utils import checkpoint, config
from torch_utils.device import Precision, resolve_precision
from torch_utils.runs import STATE_FORMAT, newest_in

FORMAT = "stylegan2-network"
VERSION = 1

_WANTED = "give a network-….safetensors of a run, or a file of the official programs, rosinality's or lucidrains'"


@dataclass(frozen=True)
class Part:
    """One network of a family: the configuration's name in the file, its type, and the module it builds."""

    config_name: str
    config: type[BaseModel]
    build: Callable[[Any], nn.Module]


_G = Part("generator", GeneratorConfig, Generator)
_D = Part("discriminator", DiscriminatorConfig, Discriminator)
FAMILIES: dict[str, dict[str, Part]] = {
    "stylegan2": {"G_ema": _G, "G": _G, "D": _D},
    "lucidrains": {"G_ema": Part("generator", LucidrainsConfig, LucidrainsGenerator)},
}


@dataclass(frozen=True)
class NetworkFile:
    """What a network file holds, as checked tensors and metadata."""

    path: Path
    metadata: dict[str, Any]  # as `models.metadata.checked` leaves it
    tensors: dict[str, Tensor]
    place: str = ""  # where it comes from, when that is no path here: a URL without its secrets, or a name

    def __str__(self) -> str:
        """What it is called in sentences and records."""
        return public(self.place) or str(self.path)

    def check_stylegan2(self, option: str) -> None:
        """Make sure that the networks are StyleGAN2's, which `option` needs.

        Raises:
            ValueError: when they are of another family.
        """
        if (family := self.metadata["family"]) != "stylegan2":
            raise ValueError(f"{option} takes a StyleGAN2, and {self} is a network of {family}: it makes samples alone")

    @property
    def parts(self) -> list[str]:
        """Which networks there are, of G_ema, G, D."""
        return [
            name for name in FAMILIES[self.metadata["family"]] if any(t.startswith(name + ".") for t in self.tensors)
        ]

    @property
    def left_out(self) -> dict[str, str]:
        """Which networks a file of another program had that could not be read here, each with the reason."""
        source = self.metadata.get("source")
        found = source.get("left_out") if isinstance(source, dict) else None
        items = found.items() if isinstance(found, dict) else ()
        return {name: printable(reason) for name, reason in items if name == "D" and isinstance(reason, str)}

    def part(self, name: str) -> nn.Module:
        """Builds one network, in float32 on the CPU, ready for use.

        Raises:
            ValueError: when the file lacks it, or its tensors do not fit its configuration.
        """
        if name not in self.parts:
            reason = f" ({self.left_out[name]})" if name in self.left_out else ""
            raise ValueError(f"{self} has no {name}{reason}, only {', '.join(self.parts)}: take another network file")
        part = FAMILIES[self.metadata["family"]][name]
        settings = self.metadata.get(part.config_name)
        try:
            settings = config.from_dict(part.config, settings if isinstance(settings, dict) else {"": settings})
        except ValueError as error:
            reason = f"the configuration of {name} is not one: {printable(str(error))}"
            raise checkpoint.DamagedError(self.path, reason) from error
        with torch.device("meta"):
            network = part.build(settings)
        prefix = name + "."
        own = {key.removeprefix(prefix): t.float() for key, t in self.tensors.items() if key.startswith(prefix)}
        for key, built in network.state_dict().items():
            if key in own and own[key].shape == built.shape:
                # Files keep the plain memory layout; networks are built in the one that is read fastest.
                own[key] = torch.empty_strided(built.shape, built.stride()).copy_(own[key])
        try:
            network.load_state_dict(own, assign=True)
        except RuntimeError as error:
            misfit = f"the tensors of {name} do not fit its configuration"
            raise checkpoint.DamagedError(self.path, misfit) from error
        return network.requires_grad_(False).eval()


def save_network(
    path: Path,
    family: str,
    networks: Mapping[str, nn.Module],
    facts: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes networks that carry a `config` to one file.

    Args:
        path: where; the file appears whole or not at all.
        family: a name in `FAMILIES`.
        networks: of G_ema, G and D those to keep.
        facts: what else is worth knowing, as JSON: kimg, data, how it was trained. Secrets of URLs are left out.
        dtype: type of the stored tensors; float16 halves the file.
    """
    parts = FAMILIES[family]
    metadata: dict[str, Any] = {"format": FORMAT, "version": VERSION, "family": family}
    metadata |= {parts[name].config_name: config.to_dict(network.config) for name, network in networks.items()}  # type: ignore[arg-type]
    tensors = {
        f"{name}.{key}": t.to(dtype) for name, network in networks.items() for key, t in network.state_dict().items()
    }
    checkpoint.save(path, tensors, metadata | public_values(dict(facts)))


def read_network(place: Path | str) -> NetworkFile:
    """Reads a network file whole; of a run folder its newest one, of a folder as the Hub keeps it its model.

    Args:
        place: a path, or what else `locate` takes: a URL, a repository of the Hub, the name of a published network.

    Raises:
        FileNotFoundError: when there is none.
        ValueError: when it cannot be had, is damaged, is not a network, is refused, or is of a version or family that
            is not known here.
    """
    read: dict[Path, tuple[dict[str, Any], dict[str, Tensor]]] = {}

    def check(path: Path) -> None:  # of what was downloaded: what it has read is not read twice
        read[path] = _contents(path)

    path = locate(place, check)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {public(str(place))}: give {KINDS}")
    elsewhere = "" if path == Path(place) else public(str(place))
    path = _newest_in(path) if path.is_dir() else path
    metadata, tensors = read[path] if path in read else _contents(path)
    return NetworkFile(path, checked(metadata), tensors, elsewhere)


def _contents(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The metadata, checked to be of a network that is known here, and the tensors."""
    if path.is_file() and (what := mistaken(path)):
        raise ValueError(f"{path} is {what}: {_WANTED}")
    if is_foreign(path):
        metadata, tensors = open_foreign(path)
        return {"format": FORMAT, "version": VERSION, "family": "stylegan2"} | metadata, tensors
    tensors, metadata = _load(path)
    if metadata.get("format") == STATE_FORMAT:
        raise ValueError(f"{path} is the state of a training run and no network: {_WANTED}")
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} is no network of this project: {_WANTED}")
    version, family = metadata.get("version"), metadata.get("family")
    if type(version) is not int or not isinstance(family, str):
        raise checkpoint.DamagedError(path, "it does not say which version and family it is of")
    if version > VERSION or family not in FAMILIES:
        raise ValueError(
            f"{path} holds networks of the family {printable(family, 40)!r} in format {printable(str(version), 20)}, "
            f"for which this program is too old: update it"
        )
    return metadata, tensors


def _newest_in(folder: Path) -> Path:
    newest = newest_in(folder) or hubfolder.find_model(folder)
    if newest is None:
        raise FileNotFoundError(
            f"{folder} is a folder without networks: give the folder of a run that has one, a folder of the Hub with "
            f"its {hubfolder.MODEL}, or a file"
        )
    return newest


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """As `checkpoint.load`, or as the folder of the Hub says; but files of other programs are not called damaged."""
    try:
        return hubfolder.load(path) if hubfolder.is_model(path) else checkpoint.load(path)
    except checkpoint.ForeignError as error:
        raise ValueError(f"{path} is no network of this project: {_WANTED}") from error
    except checkpoint.DamagedError as error:
        if path.suffix.lower() == ".safetensors":
            raise
        raise ValueError(f"{path} is no file of a network: {_WANTED}") from error


def load_network(
    place: Path | str, device: torch.device | str = "cpu", precision: Precision = "fp32", which: str = "G_ema"
) -> Any:
    """Loads one network, by default the averaged generator, ready to be called.

        G = load_network("network-000200.0.safetensors")
        images = G(z, c, truncation_psi=0.7, noise_mode="const")

    PyTorch's switches stay as they are: "tf32" computes in TF32 within `torch_utils.device.switches("tf32")` or where
    the program has allowed it, else in float32.

    Raises:
        FileNotFoundError, ValueError: as `read_network`, which says what a place is; or when the file lacks that
            network, or the device cannot compute in that precision.
    """
    device = torch.device(device)
    resolve_precision(precision, device)
    network = read_network(place).part(which)
    return network.set_precision(precision).to(device)  # type: ignore[operator]
