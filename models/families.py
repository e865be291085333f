"""The table of all families of networks, and the doors to their files: read, save, load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from models import engines, networkfile
from models.adain import family as adain
from models.adm import family as adm
from models.dit import family as dit
from models.family import Family
from models.foreign import NOTHING, Told
from models.networkfile import NetworkFile
from models.sampler import Options, Portable, Sampler
from models.stylegan2 import family as stylegan2
from torch_utils import config
from torch_utils.device import Precision, resolve_precision

ROWS = (stylegan2.FAMILY, stylegan2.LUCIDRAINS, dit.FAMILY, adm.FAMILY, adm.CLASSIFIER, adain.FAMILY)
FAMILIES: dict[str, Family] = {family.name: family for family in ROWS}


def read_network(place: Path | str, told: Told = NOTHING) -> NetworkFile:
    """Read a network file whole, from a path (the newest one of a run folder), a URL, `hf://USER/NAME` or a known name.

    `told` is what a file of another program does not state about its networks. Raises FileNotFoundError, or ValueError
    if the file cannot be fetched, is damaged, holds no network, or is of an unknown version or family.
    """
    return networkfile.read(place, FAMILIES, told)


def outline(place: Path | str) -> tuple[Path, Family] | None:
    """The path and the family of a network file of ours on this machine, from its header; None for other places."""
    return networkfile.outline(place, FAMILIES)


def save_network(
    path: Path,
    family: str,
    networks: Mapping[str, torch.nn.Module],
    facts: Mapping[str, Any],
    dtype: torch.dtype | None = None,
) -> None:
    """Write networks, parts of a family by name, to one file, atomically.

    `facts` are further metadata as JSON values (kimg, data, training), without the secrets of URLs. `dtype` is of the
    stored tensors, float32 by default; float16 halves the file.
    """
    networkfile.save(path, FAMILIES[family], networks, facts, dtype or torch.float32)


def load_network(
    place: Path | str, device: torch.device | str = "cpu", precision: Precision = "fp32", which: str = ""
) -> Any:
    """Load one network, ready to be called: `load_network("network-000200.0.safetensors")`.

    `which` is a part of the family; by default the one that makes pictures, such as "G_ema" of a StyleGAN2. "tf32"
    computes in TF32 only within `torch_utils.device.switches("tf32")`, or if TF32 is allowed. Raises as `read_network`,
    and ValueError if the file lacks the part, or the device does not support the precision.
    """
    device = torch.device(device)
    resolve_precision(precision, device)
    file = read_network(place)
    network: Any = file.part(which or file.shown)
    return network.set_precision(precision).to(device)


def load_sampler(
    place: Path | str, device: torch.device | str = "cpu", precision: Precision = "fp32", **options: Any
) -> Sampler:
    """Load a network that makes pictures, with `options` of its family.

        sampler = load_sampler("network-000200.0.safetensors")
        images = list(sampler.sample(sampler.requests([0, 1, 2], None)))  # uint8 [C, H, W] each

    Raises as `load_network`; ValueError for an unknown or unfit option, or a family that makes no pictures.
    """
    device = torch.device(device)
    resolve_precision(precision, device)
    file = read_network(place)
    return open_sampler(file, config.build(file.family.options, options), device, precision)


def check_samples(file: NetworkFile) -> None:
    """Raise ValueError if the family of a network makes no pictures of seeds."""
    if file.family.open_sampler is None:
        raise ValueError(
            f"{file} holds a network of {file.family.title}, which makes no pictures of seeds: take another"
        )


def open_sampler(
    file: NetworkFile,
    options: Options,
    device: torch.device,
    precision: Precision = "fp32",
    engine: engines.Engine = "pytorch",
) -> Sampler:
    """The sampler of a network file, and of the further networks that `options`, of its family's class, name.

    The `engine` "onnxruntime" computes the network of the file; PyTorch computes the others. Raises FileNotFoundError
    or ValueError if the family makes no pictures from seeds, an option does not fit the network, a network that an
    option names cannot be read, or the engine does not compute such networks.
    """
    if engine == "onnxruntime":
        engines.check_onnxruntime(device, precision)
    family, files = file.family, {file.shown: file}
    check_samples(file)
    assert family.open_sampler is not None
    for name, setting in config.settings(type(options)).items():
        if setting.mark.get("opens") and (place := getattr(options, name)):
            try:
                files[name] = read_network(place)
            except (FileNotFoundError, ValueError) as error:
                kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
                raise kind(f"{setting.spelling}: {error}") from error
    networks: dict[str, Any] = {name: each.part(each.shown) for name, each in files.items()}
    placed = {name: network.set_precision(precision).to(device) for name, network in networks.items()}
    # An unconditional network beside a classifier makes pictures of the classifier's classes.
    telling = next((each.metadata for each in files.values() if each.metadata.get("data", {}).get("class_names")), None)
    sampler = family.open_sampler(placed, options, telling or file.metadata)
    if engine == "pytorch":
        return sampler
    if not isinstance(sampler, Portable):
        raise ValueError(f"--engine onnxruntime computes no networks of {family.title}: leave it out")
    return sampler.run_by(engines.open_session)
