"""Opens pretrained networks: published weights in our own definitions, or the official TorchScript programs.

Reading weights runs no code.
"""

import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.perceptual.inception import Inception
from models.perceptual.vgg import LPIPS, VGG16, normalized
from system.text import printable
from torch_utils import torchfile
from torch_utils.device import is_out_of_memory

Network = TypeVar("Network", bound=nn.Module)
COUNTER = "num_batches_tracked"  # of batch normalization, which some files hold and nothing needs
DINOV2_SIDE = 224
DOCUMENT = "see docs/metrics.md"


def open_network(name: str, paths: Sequence[Path], device: torch.device) -> Callable[[Tensor], Tensor]:
    """A function from RGB pixels [N, 3, H, W] in 0..255 to features [N, D].

    Args:
        name: "inception" for features, "inception classes" for probabilities, "vgg16", "lpips" or "dinov2".
        paths: its files. LPIPS has two, VGG16's and its own weights, unless the first is the official program.
        device: the device of the network.

    Raises:
        FileNotFoundError, ValueError: if a file is missing or holds another network.
    """
    if is_torchscript(paths[0]):
        return _of_program(name, load_torchscript(paths[0], device), paths[0])
    if name == "dinov2":
        raise ValueError(f"{paths[0]} is not a TorchScript file, which dinov2 needs: {DOCUMENT}")
    if name.startswith("inception"):
        inception = load_weights(Inception, paths[0], "the Inception v3 of the FID").to(device)
        return inception.features if name == "inception" else inception.probabilities
    vgg = load_weights(VGG16, paths[0], "VGG16").to(device)
    if name == "vgg16":
        return vgg.second_layer
    lpips = load_weights(LPIPS, paths[1], "the weights of LPIPS for VGG16").to(device)
    return lambda pixels: lpips(vgg.activations(pixels))


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
            f"published weights ({DOCUMENT})"
        ) from error


def load_weights(kind: Callable[[], Network], path: Path, what: str) -> Network:
    """Build a network of the tensors of a `.pth` or `.safetensors` file, in float32 on the CPU, ready for use.

    Args:
        kind: makes the network. The file must have exactly its names and shapes.
        path: the file.
        what: the network in words, for errors.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, or a tensor is missing, superfluous or of another shape.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: give the path of the detector's weights")
    try:
        found = load_file(path) if path.suffix.lower() == ".safetensors" else torchfile.read(path)
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as weights: {printable(str(error))}") from error
    if not isinstance(found, Mapping) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise ValueError(f"{path} does not hold plain weights (tensors by name): give the published file")
    with torch.device("meta"):
        network = kind()
    found, wanted = (
        {str(name): tensor.detach() for name, tensor in tensors.items() if not str(name).endswith(COUNTER)}
        for tensors in (found, network.state_dict())
    )
    for name in [*wanted, *found]:
        theirs, ours = (list(place[name].shape) if name in place else "none" for place in (found, wanted))
        if theirs != ours:
            differs = f"its {printable(name, 80)} has shape {printable(str(theirs), 80)}, expected {ours}"
            raise ValueError(f"{path} is not {what}: {differs}; give the published file")
    network.to_empty(device="cpu").load_state_dict({n: t.float() for n, t in found.items()}, strict=False)
    return network.requires_grad_(False).eval()


def to_rgb(pixels: Tensor) -> Tensor:
    """Pixels of 1, 3 or 4 channels -> RGB of the same dtype; transparent pixels are put on white."""
    if pixels.shape[1] == 1:
        return pixels.expand(-1, 3, -1, -1)
    if pixels.shape[1] == 3:
        return pixels
    alpha = pixels[:, 3:].float() / 255
    mixed = pixels[:, :3] * alpha + 255 * (1 - alpha)
    return mixed if pixels.is_floating_point() else mixed.round().to(pixels.dtype)


def _of_program(name: str, program: Any, path: Path) -> Callable[[Tensor], Tensor]:
    """The official TorchScript file behind one call."""
    calls: dict[str, Callable[[Tensor], Tensor]] = {
        "inception": lambda pixels: program(pixels, return_features=True),
        "inception classes": lambda pixels: program(pixels, no_output_bias=True),
        "vgg16": lambda pixels: program(pixels, return_features=True),
        "lpips": lambda pixels: program(pixels, resize_images=False, return_lpips=True),
        "dinov2": lambda pixels: program(_for_dinov2(pixels)),
    }

    def see(pixels: Tensor) -> Tensor:
        try:
            seen = calls[name](pixels)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(f"{path} does not take the call of {name} ({DOCUMENT}): {reason}") from error
        if not isinstance(seen, Tensor) or seen.ndim != 2 or len(seen) != len(pixels):
            raise ValueError(f"{path} does not return features [images, dimensions]: it is not {name}")
        return seen

    return see


def _for_dinov2(pixels: Tensor) -> Tensor:
    """Pixels [N, 3, H, W] in 0..255 -> normalized images [N, 3, 224, 224], resized as in Stein et al. 2023."""
    size = (DINOV2_SIDE, DINOV2_SIDE)
    images = F.interpolate(pixels.float(), size, mode="bicubic", align_corners=False, antialias=True)
    return normalized(images.clamp(0, 255) / 255, 1)
