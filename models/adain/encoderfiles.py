"""Files of encoders: the bundled one, published ones, and how other programs' files are recognized."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from models.places import Published
from models.sampler import Options
from torch_utils.config import flag

_RELEASE = "https://github.com/naoto0804/pytorch-AdaIN/releases/download/v0.0.0"
PUBLISHED = {
    "vgg19": Published("https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", "dcbb9e9d"),  # as its name says
    "vgg-normalised": Published(
        f"{_RELEASE}/vgg_normalised.pth", "804ca2835ecf7539f0cd2a7ac3c18ce81e6f8468969ae7117ac0c148d286bb4a"
    ),
    "adain-decoder": Published(
        f"{_RELEASE}/decoder.pth", "379ca41d59f3a37eed3599bbbc2560c19da5c458870a5ffd3a9dd41aa88f9472"
    ),
}
NAMES = ("vgg19", "vgg-normalised")  # of encoders
BUNDLED = Path(__file__).parents[2] / "assets" / "style.safetensors"
TORCHVISION, NAOTO = "torchvision's VGG", "naoto0804's vgg_normalised.pth"

_ON = "of an encoder's file: pictures, a ZIP or folder, on which the mean of each feature becomes 1"


class NormalizeOptions(Options):
    """What the weights of an encoder become."""

    normalize_on: str = flag("", "--normalize-on", "Networks", _ON)


def find(place: str) -> str | Path:
    """The place of a network that --encoder names: `bundled` is that of this project, others are returned unchanged.

    Raises FileNotFoundError for a missing file, and for an unknown name.
    """
    if place == "bundled" and not BUNDLED.is_file():
        raise FileNotFoundError("--encoder bundled: there is no assets/style.safetensors here: name another encoder")
    known = "://" in place or place in PUBLISHED or place == "bundled"
    if not known and not Path(place).exists():
        names = ", ".join(NAMES)
        raise FileNotFoundError(f"--encoder {place}: there is no such file: give a file, bundled, or a name: {names}")
    return BUNDLED if place == "bundled" else place


def is_of_torchvision(contents: Any) -> bool:
    """Whether a file's contents are torchvision's VGG."""
    return isinstance(contents, dict) and isinstance(contents.get("features.0.weight"), torch.Tensor)


def is_of_naoto(contents: Any) -> bool:
    """Whether a file's contents are naoto0804's encoder."""
    first = contents.get("0.weight") if isinstance(contents, dict) else None
    return isinstance(first, torch.Tensor) and tuple(first.shape) == (3, 3, 1, 1)
