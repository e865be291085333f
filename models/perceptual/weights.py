"""Loads published weights into our own definitions of their networks. Reading weights runs no code."""

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
COUNTER = "num_batches_tracked"  # of batch normalization, which some files hold and nothing needs


def is_torchscript(path: Path) -> bool:
    """Whether a file holds a TorchScript program instead of plain weights."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.partition("/")[2].startswith("code/") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def load_torchscript(path: Path, device: torch.device) -> Any:
    """Load a TorchScript program. The program may run any code, even while it is loaded.

    Raises:
        ValueError: if the file cannot be read, or this PyTorch has no TorchScript.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.jit.load(str(path), map_location=device).eval()
    except (AttributeError, RuntimeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"{path} cannot be loaded as TorchScript by this PyTorch ({torch.__version__}): fetch it anew, or take the "
            f"published weights (see docs/metrics.md)"
        ) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth` or `.safetensors` file by name, on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, or holds anything but tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: give the path of the detector's weights")
    try:
        found = load_file(path) if path.suffix.lower() == ".safetensors" else torchfile.read(path)
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as weights: {printable(str(error))}") from error
    if not isinstance(found, Mapping) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise ValueError(f"{path} does not hold plain weights (tensors by name): give the published file")
    return {str(name): tensor.detach() for name, tensor in found.items()}


def load_weights(network: Network, path: Path, what: str) -> Network:
    """Fill a network with the tensors of a file, in float32 on the CPU, ready for use.

    Args:
        network: on any device. The file must have exactly its names and shapes.
        path: the file.
        what: the network in words, for errors.

    Raises:
        FileNotFoundError, ValueError: as `read_weights`, or if a tensor is missing, superfluous or of another shape.
    """
    found = {name: tensor for name, tensor in read_weights(path).items() if not name.endswith(COUNTER)}
    wanted = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith(COUNTER)}
    for name in [*wanted, *found]:
        theirs, ours = (list(place[name].shape) if name in place else "none" for place in (found, wanted))
        if theirs != ours:
            differs = f"its {printable(name, 80)} has shape {printable(str(theirs), 80)}, expected {ours}"
            raise ValueError(f"{path} is not {what}: {differs}; give the published file")
    network.to_empty(device="cpu").load_state_dict({n: t.float() for n, t in found.items()}, strict=False)
    return network.requires_grad_(False).eval()
