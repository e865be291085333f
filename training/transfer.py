"""Transfer learning: a new run that starts from the weights of a trained network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from models.families import NetworkFile, read_network
from training.config import TrainConfig
from training.stylegan2 import StyleGAN2

# For each setting of a network that must agree: what to do when it does not.
MENDS = {
    "height": "convert the data with dataset_tool.py --resolution {size}",
    "width": "convert the data with dataset_tool.py --resolution {size}",
    "channels": "give data with {theirs} channels",
    "classes": "give data with {theirs} classes, see --labels",
}


def open_transfer(path: Path, config: TrainConfig) -> NetworkFile:
    """Reads the network file and makes sure that `transfer` will work, before anything is written.

    Raises:
        FileNotFoundError, ValueError: when the file is not usable, or its networks are of another shape.
    """
    file = read_network(path)
    for name in file.parts:
        kind = "discriminator" if name == "D" else "generator"
        _compare(path, kind, _shape_settings(file.part(name).config), _shape_settings(getattr(config, kind)))
    return file


def transfer(file: NetworkFile, recipe: StyleGAN2) -> str:
    """Loads the weights of a checked network file into a fresh recipe and returns a sentence that says what was taken.

    A file that holds only the averaged generator gives G too; D then starts anew.
    """
    taken = []
    for name, network in recipe.networks.items():
        source = name if name in file.parts else "G_ema"
        if name == "D" and "D" not in file.parts:
            continue
        network.load_state_dict(file.part(source).state_dict())
        taken.append(name if source == name else f"{name} (from {source})")
    missing = "" if "D" in file.parts else "; it has no D, which starts anew"
    return f"took {', '.join(taken)} from {file.path}{missing}"


def _compare(path: Path, kind: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    for name, value in theirs.items():
        if value != ours[name]:
            mend = MENDS.get(name, f"use --set {kind}.{name}={value}")
            mend = mend.format(theirs=value, size=f"{theirs['width']}x{theirs['height']}")
            raise ValueError(f"{path} has {kind}.{name} {value}, but this run has {ours[name]}: {mend}")


def _shape_settings(config: Any) -> dict[str, Any]:
    """The settings of a network that decide the shapes of its tensors."""
    settings: BaseModel = config
    return {name: value for name, value in settings.model_dump().items() if name not in ("clamp", "mbstd_group")}
