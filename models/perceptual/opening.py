"""Opens published networks: plain weights in our own definitions, or the official TorchScript programs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.perceptual.inception import Inception
from models.perceptual.published import PUBLISHED
from models.perceptual.vgg import DEVIATION, LPIPS, MEAN, VGG16, VGGWeights
from models.perceptual.weights import is_torchscript, load_torchscript, load_weights
from torch_utils.device import is_out_of_memory

DINOV2_SIDE = 224


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
        raise ValueError(f"{paths[0]} is not a TorchScript file, which dinov2 needs: see docs/metrics.md")
    if name.startswith("inception"):
        inception = _load(Inception, paths[0], "inception").to(device)
        return inception.features if name == "inception" else inception.probabilities
    vgg = _load(VGG16, paths[0], "vgg16").to(device)
    if name == "vgg16":
        return vgg.second_layer
    return LPIPS(vgg, _load(VGGWeights, paths[1], "lpips").by_size()).to(device)


def _load(kind: Callable[[], Any], path: Path, name: str) -> Any:
    with torch.device("meta"):
        network = kind()
    return load_weights(network, path, PUBLISHED[name].what)


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
            raise ValueError(
                f"{path} does not take the call of {name} (see docs/metrics.md): {str(error).strip().splitlines()[-1]}"
            ) from error
        if not isinstance(seen, Tensor) or seen.ndim != 2 or len(seen) != len(pixels):
            raise ValueError(f"{path} does not return features [images, dimensions]: it is not {name}")
        return seen

    return see


def _for_dinov2(pixels: Tensor) -> Tensor:
    """Pixels [N, 3, H, W] in 0..255 -> normalized images [N, 3, 224, 224], resized as in Stein et al. 2023."""
    size = (DINOV2_SIDE, DINOV2_SIDE)
    images = F.interpolate(pixels.float(), size, mode="bicubic", align_corners=False, antialias=True)
    mean, deviation = (images.new_tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    return (images.clamp(0, 255) / 255 - mean) / deviation


def to_rgb(pixels: Tensor) -> Tensor:
    """Pixels of 1, 3 or 4 channels -> RGB of the same dtype; transparent pixels are put on white."""
    if pixels.shape[1] == 1:
        return pixels.expand(-1, 3, -1, -1)
    if pixels.shape[1] == 3:
        return pixels
    alpha = pixels[:, 3:].float() / 255
    mixed = pixels[:, :3] * alpha + 255 * (1 - alpha)
    return mixed if pixels.is_floating_point() else mixed.round().to(pixels.dtype)
