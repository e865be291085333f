"""Pretrained networks that look at images: their files, published or given by users, and their opening.

The published files are plain weights, loaded into our own definitions; reading them runs no code. A TorchScript file is
a program, and is used only with --trust.
"""

import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.perceptual.embeddings import LPIPS, VGG16, normalized
from models.perceptual.inception import Inception
from system.resources import cache_folder
from system.text import is_url, pinned, printable, public
from torch_utils import distributed, torchfile
from torch_utils.device import is_out_of_memory
from torch_utils.download import fetch, kept, sha256

Network = TypeVar("Network", bound=nn.Module)
COUNTER = "num_batches_tracked"  # of batch normalization, which some files hold and nothing needs
DOCUMENT = "see docs/metrics.md"
CALLS: dict[str, dict[str, bool]] = {  # of the official programs
    "inception": {"return_features": True},
    "inception classes": {"no_output_bias": True},
    "vgg16": {"return_features": True},
    "lpips": {"resize_images": False, "return_lpips": True},
    "dinov2": {},
}


class PublishedDetector(NamedTuple):
    """Published weights: name of the file, URL, and SHA-256."""

    file: str
    url: str
    digest: str


PUBLISHED = {
    "inception": PublishedDetector(
        "pt_inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    ),
    "vgg16": PublishedDetector(
        "vgg16-397923af.pth",
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
    "lpips": PublishedDetector(
        "lpips-vgg-v0.1.pth",
        "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/"
        "082bb24f84c091ea94de2867d34c4544f68e0963/lpips/weights/v0.1/vgg.pth",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    ),
}
NAMES = (*PUBLISHED, "dinov2")


def parse_files(texts: Sequence[str]) -> dict[str, str]:
    """The values of `--detector`, `["inception=PATH"]` -> `{"inception": "PATH"}`; PATH may end in `#sha256=DIGEST`.

    Raises ValueError if a value is not NAME=PATH, a name is unknown or repeated, or a digest is malformed.
    """
    files: dict[str, str] = {}
    for text in texts:
        name, _, place = text.partition("=")
        if not place:
            example = f"inception={PUBLISHED['inception'].file}"
            raise ValueError(f"--detector got {public(text)!r}, expected NAME=PATH, such as {example}")
        if name not in NAMES:
            raise ValueError(f"--detector {name}: unknown detector, expected one of {', '.join(NAMES)}")
        if name in files:
            raise ValueError(f"--detector {name} was given twice: give it once")
        pinned(place)
        files[name] = place
    return files


def check_trust(trust: bool, given: Mapping[str, str]) -> None:
    """Raise ValueError if --trust is given without --detector."""
    if trust and not given:
        raise ValueError("--trust applies to files of --detector, and none is given: leave --trust out")


def find_networks(wanted: Sequence[str], given: Mapping[str, str], remedy: str, trust: bool) -> dict[str, Path]:
    """The files of the detectors `wanted`, downloaded on first use. Every rank must call this function.

    `given` are files or URLs to use instead, programs only with `trust`. `remedy` ends the error of a failed download.
    Raises FileNotFoundError or ValueError if a file is missing, another than its digest, or an untrusted program.
    """
    if not distributed.is_first():
        distributed.barrier()
    files: dict[str, Path] = {}
    for name in wanted:
        if given.get(name):
            files[name] = _given(name, given[name], trust)
        elif name in PUBLISHED:
            file, url, digest = PUBLISHED[name]
            path = cache_folder() / "detectors" / file
            files[name] = fetch(url, path, digest, f"or give --detector {name}=PATH, {remedy}")
        else:
            raise FileNotFoundError(
                f"the detector {name} must be given: --detector {name}=PATH of a TorchScript file ({DOCUMENT})"
            )
    if distributed.is_first():
        distributed.barrier()
    return files


def has_lpips(given: Mapping[str, str]) -> bool:
    """Whether the file given for VGG16 is the official program, which contains LPIPS; of a URL by its ending."""
    place, _ = pinned(given.get("vgg16", ""))
    return place.endswith(".pt") if is_url(place) else is_torchscript(Path(place))


def _given(name: str, text: str, trust: bool) -> Path:
    """The file that a user named."""
    place, digest = pinned(text)
    option = f"--detector {name}={public(place)}"
    if is_url(place):
        path = fetch(place, kept(place, "detectors"), digest, f"or give --detector {name}=PATH", check=_check_whole)
    else:
        path = Path(place)
        if not path.is_file():
            raise FileNotFoundError(f"{option}: there is no such file: check the path")
    found = sha256(path) if digest or is_url(place) else ""
    if digest and found != digest:
        raise ValueError(f"{option}: the SHA-256 of {path} is {found}, expected {digest}: it is another file")
    if is_torchscript(path) and not trust:
        raise ValueError(
            f"{option} is a TorchScript file, a program that can do whatever you can do on this machine: give --trust "
            f"if you trust its source, or give a file of weights ({DOCUMENT})"
        )
    if is_torchscript(path) and is_url(place) and not digest:
        raise ValueError(
            f"{option} is a program, and the URL may serve another one tomorrow: state the digest that you trust, such "
            f"as {option}#sha256={found}, the digest of this download"
        )
    return path


def _check_whole(path: Path) -> None:
    """Raise ValueError for an archive that was cut short: its directory is at its end."""
    with path.open("rb") as file:
        if file.read(2) == b"PK" and not zipfile.is_zipfile(path):
            raise ValueError(f"{path} is cut short")


def open_network(name: str, paths: Sequence[Path], device: torch.device) -> Callable[[Tensor], Tensor]:
    """A function from RGB pixels [N, 3, H, W] in 0..255 to features [N, D]; for "inception classes", to probabilities.

    LPIPS has two `paths`, VGG16's and its own weights, unless the first is the official program. Raises
    FileNotFoundError or ValueError if a file is missing or holds another network.
    """
    if is_torchscript(paths[0]):
        return _of_program(name, paths[0], device)
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
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.partition("/")[2].startswith("code/") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def load_weights(kind: Callable[[], Network], path: Path, what: str) -> Network:
    """Build a network of the tensors of a `.pth` or `.safetensors` file, in float32 on the CPU, ready for use.

    The file must have exactly the names and shapes of the network that `kind` makes; `what` names it in errors. Raises
    FileNotFoundError, or ValueError for another or a damaged file.
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


def _of_program(name: str, path: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The official TorchScript file behind one call. The program may run any code, even while it is loaded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            program = torch.jit.load(str(path), map_location=device).eval()
    except (AttributeError, RuntimeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"{path} cannot be loaded as TorchScript by this PyTorch ({torch.__version__}): fetch it anew, or take the "
            f"published weights ({DOCUMENT})"
        ) from error

    def see(pixels: Tensor) -> Tensor:
        try:
            seen = program(_for_dinov2(pixels) if name == "dinov2" else pixels, **CALLS[name])
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
    images = F.interpolate(pixels.float(), (224, 224), mode="bicubic", align_corners=False, antialias=True)
    return normalized(images.clamp(0, 255) / 255, 1)
