"""Published weights into our own definitions of their networks. Reading them runs no code."""

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from system.text import printable
from torch_utils import torchfile

Network = TypeVar("Network", bound=nn.Module)
COUNTER = "num_batches_tracked"  # of batch normalisation: some files have it, nothing needs it


def is_torchscript(path: Path) -> bool:
    """Whether a file holds a TorchScript program, and not plain weights."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.partition("/")[2].startswith("code/") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):  # no program either
        return False


def load_torchscript(path: Path, device: torch.device) -> Any:
    """Load the program of a TorchScript file, which may run any code, already while it is read.

    Raises:
        ValueError: when the file cannot be read, or this PyTorch has no TorchScript any more.
    """
    load = getattr(getattr(torch, "jit", None), "load", None)
    if load is None:
        raise ValueError(
            f"{path} is a TorchScript file, and this PyTorch ({torch.__version__}) has no TorchScript: take the "
            f"published weights (see docs/metrics.md), or an older PyTorch"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # docs/metrics.md says it
            return load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"{path} cannot be loaded as TorchScript by this PyTorch ({torch.__version__}): fetch it anew, or take the "
            f"published weights (see docs/metrics.md)"
        ) from error


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
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read as weights: it is damaged, or another kind of file") from error
    try:
        found = torchfile.read(path)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as weights: {error}") from error
    if not isinstance(found, Mapping) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise ValueError(f"{path} holds no plain weights (tensors by name): give the published file")
    return {str(name): tensor.detach() for name, tensor in found.items()}


def load_weights(network: Network, path: Path, what: str) -> Network:
    """Fills a network, built anywhere, with the tensors of a file; ready for use on the CPU, in float32.

    Args:
        network: whose names and shapes the file must have, neither more nor fewer.
        path: the file.
        what: the network in words, for the sentence of the error.

    Raises:
        FileNotFoundError, ValueError: as `read_weights`, or when a tensor is missing, superfluous or of another shape.
    """
    found = {name: tensor for name, tensor in read_weights(path).items() if not name.endswith(COUNTER)}
    wanted = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith(COUNTER)}
    for name in [*wanted, *found]:
        if name not in found:
            raise ValueError(f"{path} is not {what}: it lacks {name}; give the published file")
        if name not in wanted:
            raise ValueError(f"{path} is not {what}, which has no {printable(name, 80)}; give the published file")
        if found[name].shape != wanted[name].shape:
            shapes = f"{printable(str(list(found[name].shape)), 80)}, not {list(wanted[name].shape)}"
            raise ValueError(f"{path} is not {what}: its {name} is {shapes}; give the published file")
    whole = {name: tensor.float() for name, tensor in found.items()}  # of known shapes by now
    network.to_empty(device="cpu").load_state_dict(whole, strict=False)
    return network.requires_grad_(False).eval()
