"""A network in a folder of the Hugging Face Hub, with `config.json`, `model.safetensors`, a card and samples.

`model.safetensors` is a complete network file. If another program wrote it, with the same tensors and without our
metadata, the metadata are taken from `config.json`.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from torch_utils import checkpoint

MODEL = "model.safetensors"
CONFIG = "config.json"
CARD = "README.md"
SAMPLES = "samples.png"

LARGEST_CONFIG = 2**24  # bytes


def find_model(folder: Path) -> Path | None:
    """The network file of such a folder; None for other folders."""
    path = folder / MODEL
    return path if path.is_file() else None


def is_model(path: Path) -> bool:
    """Whether a file is the network of such a folder, with a configuration beside it."""
    return path.name == MODEL and path.is_file() and path.with_name(CONFIG).is_file()


def load(path: Path, defining: Iterable[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and metadata of a file for which `is_model` is true.

    Args:
        path: the file.
        defining: keys of the metadata that a network is built from.

    Raises:
        ValueError: if a file is damaged, or the two files describe different networks.
    """
    config = _config(path.with_name(CONFIG))
    try:
        tensors, metadata = checkpoint.load(path)
    except checkpoint.ForeignError:
        return checkpoint.load(path, check=False)[0], config
    for key in defining:
        if key in config and config[key] != metadata.get(key):
            raise ValueError(
                f"{path} and the {CONFIG} beside it disagree about {key}: take both from one place, or remove {CONFIG}"
            )
    return tensors, metadata


def _config(path: Path) -> dict[str, Any]:
    if path.stat().st_size > LARGEST_CONFIG:
        raise ValueError(f"{path} is too large for a configuration: take the file that came with the network")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise checkpoint.DamagedError(path, "it is not JSON") from error
    if not isinstance(config, dict):
        raise checkpoint.DamagedError(path, "it is not a table")
    return config
