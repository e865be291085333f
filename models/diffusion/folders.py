"""Folders of diffusers: a configuration and weights, written without diffusers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from models.foreign import Format, Job, Notes
from system.files import replacing

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"


def check_kept(model: str, config: Any, kept: Mapping[str, Any]) -> None:
    """Raise ValueError unless the settings of a network are those that the graph of diffusers' `model` has."""
    for name, value in kept.items():
        if (own := getattr(config, name)) != value:
            raise ValueError(f"{model} of diffusers does not hold this network: its {name} is {own}, expected {value}")


def write_folder(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Path:
    """Write a folder for `from_pretrained`, each file atomically, and return it."""
    from safetensors.torch import save_file  # only here: it imports PyTorch

    with replacing(folder / WEIGHTS) as temporary:
        save_file({name: t.float().contiguous() for name, t in tensors.items()}, temporary, {"format": "pt"})
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return folder


def folder_format(write: Callable[[Job], Notes]) -> Format:
    """The row of a family whose networks `write` writes as a folder of diffusers."""
    return Format("", "a folder of diffusers", write, one=True, kind="diffusers", check=_check)


def _check(folder: Path) -> None:
    """Raise ValueError unless a folder is missing, or holds no other things than a model of diffusers."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, but diffusers needs a folder: name another path")
    others = (
        sorted(path.name for path in folder.iterdir()) if folder.is_dir() and not (folder / WEIGHTS).is_file() else []
    )
    if others:
        raise ValueError(f"{folder} holds other things, such as {others[0]}: name a new folder")
