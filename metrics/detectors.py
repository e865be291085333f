"""What looks at pictures, by name: a pretrained network from its file, or the patches that need none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from imaging.pixels import to_images
from metrics.sliced_wasserstein import descriptors
from models.perceptual.inception import Inception
from models.perceptual.vgg import DEVIATION, LPIPS, MEAN, VGG16, Weights
from models.perceptual.weights import is_torchscript, load_torchscript, load_weights
from torch_utils import distributed
from torch_utils.device import is_out_of_memory
from torch_utils.download import cache_folder, fetch, sha256

DINOV2_SIDE = 224


@dataclass(frozen=True)
class Published:
    """Weights that others published: the name of the file, where it is, and how its SHA-256 begins."""

    file: str
    url: str
    digest: str
    what: str


PUBLISHED = {
    "inception": Published(
        "pt_inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        "6726825d",
        "the Inception v3 of the FID",
    ),
    "vgg16": Published(
        "vgg16-397923af.pth", "https://download.pytorch.org/models/vgg16-397923af.pth", "397923af", "VGG16"
    ),
    "lpips": Published(
        "lpips-vgg-v0.1.pth",
        "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/"
        "082bb24f84c091ea94de2867d34c4544f68e0963/lpips/weights/v0.1/vgg.pth",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        "the weights of LPIPS for VGG16",
    ),
}
NAMES = (*PUBLISHED, "dinov2")
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
    gives [n, ...]. Equal identities see alike; what an eye with an empty one saw is not kept on the disk.
    """

    name: str
    identity: str
    look: Callable[[Tensor, Sequence[int]], Tensor]

    def __call__(self, pixels: Tensor, indices: Sequence[int] = ()) -> Tensor:
        return self.look(pixels, indices)


def parse_files(texts: Sequence[str]) -> dict[str, str]:
    """`["inception=PATH"]` -> `{"inception": "PATH"}`, as `--detector` was given.

    Raises:
        ValueError: when one is not NAME=PATH, or is named twice, or there is no such detector.
    """
    files: dict[str, str] = {}
    for text in texts:
        name, equals, place = text.partition("=")
        if not equals or not place:
            raise ValueError(f"--detector got {text!r}, wanted NAME=PATH, such as inception=inception-2015-12-05.pt")
        if name not in NAMES:
            raise ValueError(f"--detector {name}: there is no such detector; they are {', '.join(NAMES)}")
        if name in files:
            raise ValueError(f"--detector {name} was given twice: give it once")
        files[name] = place
    return files


def find_files(eyes: Sequence[str], given: Mapping[str, str]) -> dict[str, Path]:
    """The files that these eyes need, downloaded where they are not there yet, by name of the detector.

    Raises:
        FileNotFoundError, ValueError: when one is not there and cannot be had, saying where to put it.
    """
    wanted = list(dict.fromkeys(name for eye in eyes for name in FILES_OF[eye]))
    if "lpips" in wanted and "vgg16" in given and _scripted(given["vgg16"]):
        wanted.remove("lpips")  # which the official program has within it
    for name in given:
        if name not in wanted:
            raise ValueError(f"--detector {name}: none of the metrics asks for it; leave it out")
    if not distributed.is_first():
        distributed.barrier()
    files = {name: _file(name, given.get(name, "")) for name in wanted}
    if distributed.is_first():
        distributed.barrier()
    return files


def _scripted(place: str) -> bool:
    """Whether a place holds, or will hold once it is downloaded, a TorchScript program."""
    return place.endswith(".pt") if _is_url(place) else is_torchscript(Path(place))


def _is_url(place: str) -> bool:
    return place.startswith(("https://", "http://"))


def _file(name: str, place: str) -> Path:
    folder = cache_folder() / "detectors"
    if _is_url(place):
        return fetch(place, folder / place.rpartition("/")[2], remedy=f"or give --detector {name}=PATH")
    if place:
        if not Path(place).is_file():
            raise FileNotFoundError(f"--detector {name}={place}: there is no such file; check the path")
        return Path(place)
    if name not in PUBLISHED:
        raise FileNotFoundError(
            f"the detector {name} has to be given: --detector {name}=PATH of a TorchScript file (see docs/metrics.md)"
        )
    known = PUBLISHED[name]
    remedy = f"or give --detector {name}=PATH, or take a metric that needs none, such as swd"
    path = fetch(known.url, folder / known.file, known.digest, remedy)
    if not (found := sha256(path)).startswith(known.digest):  # which somebody may have put there
        raise ValueError(
            f"{path} is not {known.what}: its digest begins with {found[:8]}, not {known.digest[:8]}; "
            f"delete it, so that it is downloaded anew, or give --detector {name}=PATH"
        )
    return path


def open_eye(name: str, files: Mapping[str, Path], device: torch.device) -> Eye:
    """One eye on its device.

    Raises:
        FileNotFoundError, ValueError: when a file is not the network it should be.
    """
    if name == "patches":
        return Eye(name, "", lambda pixels, indices: descriptors(to_images(pixels), indices))
    paths = [files[part] for part in FILES_OF[name] if part in files]
    identity = f"{name} " + " ".join(sha256(path) for path in paths)
    if is_torchscript(paths[0]):
        see = _of_program(name, load_torchscript(paths[0], device), paths[0])
    elif name == "dinov2":
        raise ValueError(f"{paths[0]} is no TorchScript file, and dinov2 has to be one: see docs/metrics.md")
    else:
        see = _of_weights(name, paths, device)
    return Eye(name, identity, lambda pixels, indices: see(to_rgb(pixels)).float())


def _of_weights(name: str, paths: Sequence[Path], device: torch.device) -> Callable[[Tensor], Tensor]:
    """Our own definitions of the networks."""
    if name.startswith("inception"):
        inception = _load(Inception, paths[0], "inception").to(device)
        return inception.features if name == "inception" else inception.probabilities
    vgg = _load(VGG16, paths[0], "vgg16").to(device)
    if name == "vgg16":
        return vgg.second_layer
    return LPIPS(vgg, _load(Weights, paths[1], "lpips").by_size()).to(device)


def _load(kind: Callable[[], Any], path: Path, name: str) -> Any:
    with torch.device("meta"):
        network = kind()
    return load_weights(network, path, PUBLISHED[name].what)


def _of_program(name: str, program: Any, path: Path) -> Callable[[Tensor], Tensor]:
    """The calls that the official TorchScript files take; DINOv2 takes normalised images of 224 x 224."""
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
            raise ValueError(f"{path} does not give features [images, dimensions]: it is another network than {name}")
        return seen

    return see


def _for_dinov2(pixels: Tensor) -> Tensor:
    """Pixels [N, 3, H, W] in 0..255 -> normalised images [N, 3, 224, 224], resized as Stein et al. 2023 do."""
    size = (DINOV2_SIDE, DINOV2_SIDE)
    images = F.interpolate(pixels.float(), size, mode="bicubic", align_corners=False, antialias=True)
    mean, deviation = (images.new_tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    return (images.clamp(0, 255) / 255 - mean) / deviation


def to_rgb(pixels: Tensor) -> Tensor:
    """Pixels of 1, 3 or 4 channels -> of three: grey thrice, transparent ones on white. The type stays."""
    if pixels.shape[1] == 1:
        return pixels.expand(-1, 3, -1, -1)
    if pixels.shape[1] == 3:
        return pixels
    alpha = pixels[:, 3:].float() / 255
    mixed = pixels[:, :3] * alpha + 255 * (1 - alpha)
    return mixed if pixels.is_floating_point() else mixed.round().to(pixels.dtype)
