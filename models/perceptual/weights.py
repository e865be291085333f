"""Published weights into our own definitions of their networks. Reading them runs no code."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)
COUNTER = "num_batches_tracked"  # of batch normalisation: some files have it, nothing needs it


def is_torchscript(path: Path) -> bool:
    """Whether a file holds a TorchScript program, and not plain weights."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.partition("/")[2].startswith("code/") for name in archive.namelist())


def load_torchscript(path: Path, device: torch.device) -> torch.jit.ScriptModule:
    """The program of a TorchScript file. It runs in PyTorch's own interpreter, which knows no Python.

    Raises:
        ValueError: when the file cannot be read.
    """
    try:
        return torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path} cannot be loaded as TorchScript: fetch it anew") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth` or `.safetensors` file by name, on the CPU.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is none of tensors alone, or damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: give the path of the detector's weights")
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # whatever a damaged file leads to
        raise ValueError(f"{path} cannot be read as weights: it is damaged, or another kind of file") from error
    if not isinstance(tensors, Mapping) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise ValueError(f"{path} holds no plain weights (tensors by name): give the published file")
    return dict(tensors)


def load_weights(network: Network, path: Path, what: str) -> Network:
    """Fills a network, built anywhere, with the tensors of a file; ready for use on the CPU, in float32.

    Args:
        network: whose names and shapes the file must have, neither more nor fewer.
        path: the file.
        what: the network in words, for the sentence of the error.

    Raises:
        FileNotFoundError, ValueError: as `read_weights`, or when a tensor is missing, superfluous or of another shape.
    """
    found = {name: tensor.float() for name, tensor in read_weights(path).items() if not name.endswith(COUNTER)}
    wanted = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith(COUNTER)}
    for name in [*wanted, *found]:
        if name not in found:
            raise ValueError(f"{path} is not {what}: it lacks {name}; give the published file")
        if name not in wanted:
            raise ValueError(f"{path} is not {what}, which has no {name}; give the published file")
        if found[name].shape != wanted[name].shape:
            shapes = f"{list(found[name].shape)}, not {list(wanted[name].shape)}"
            raise ValueError(f"{path} is not {what}: its {name} is {shapes}; give the published file")
    network.to_empty(device="cpu").load_state_dict(found, strict=False)
    return network.requires_grad_(False).eval()
