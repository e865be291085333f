"""What looks at pictures, by name: a pretrained network from its file, or the patches that need none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from imaging.pixels import to_images
from metrics.sliced_wasserstein import descriptors
from models.perceptual.detectorfiles import find_networks, has_lpips
from models.perceptual.extractors import open_network, to_rgb
from torch_utils.download import sha256

FILES_OF: dict[str, tuple[str, ...]] = {
    "inception": ("inception",),
    "inception classes": ("inception",),
    "vgg16": ("vgg16",),
    "lpips": ("vgg16", "lpips"),
    "dinov2": ("dinov2",),
    "patches": (),
}


@dataclass(frozen=True)
class Eye:
    """What looks at pictures.

    `look` takes uint8 pixels [n, C, H, W] and their numbers, or for LPIPS float RGB in 0..255 instead of pixels, and
    gives [n, ...]. Two eyes with the same `identity` give the same features. Features of an eye whose
    identity is empty are not cached on disk.
    """

    name: str
    identity: str
    look: Callable[[Tensor, Sequence[int]], Tensor]

    def __call__(self, pixels: Tensor, indices: Sequence[int] = ()) -> Tensor:
        return self.look(pixels, indices)


def find_files(eyes: Sequence[str], given: Mapping[str, str], trust: bool = False) -> dict[str, Path]:
    """The files that these eyes need, downloaded where they are not there yet, by name of the detector.

    Args:
        eyes: names in `FILES_OF`.
        given: files or URLs of detectors, as `parse_files` gives them.
        trust: whether they may be programs.

    Raises:
        FileNotFoundError, ValueError: when one is not there and cannot be had, saying where to put it.
    """
    wanted = list(dict.fromkeys(name for eye in eyes for name in FILES_OF[eye]))
    if "lpips" in wanted and has_lpips(given):
        wanted.remove("lpips")
    for name in given:
        if name not in wanted:
            raise ValueError(f"--detector {name}: none of the metrics asks for it; leave it out")
    return find_networks(wanted, given, "or take a metric that needs none, such as swd", trust)


def open_eye(name: str, files: Mapping[str, Path], device: torch.device) -> Eye:
    """One eye on its device.

    Raises:
        FileNotFoundError, ValueError: when a file is not the network it should be.
    """
    if name == "patches":
        return Eye(name, "", lambda pixels, indices: descriptors(to_images(pixels), indices))
    paths = [files[part] for part in FILES_OF[name] if part in files]
    identity = f"{name} " + " ".join(sha256(path) for path in paths)
    see = open_network(name, paths, device)
    return Eye(name, identity, lambda pixels, indices: see(to_rgb(pixels)).float())
