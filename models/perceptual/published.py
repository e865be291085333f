"""Networks that others trained and published: their names, where their files are, and how users name other files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.perceptual.weights import is_torchscript
from torch_utils import distributed
from torch_utils.download import cache_folder, fetch, sha256


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


def find_networks(wanted: Sequence[str], given: Mapping[str, str], remedy: str) -> dict[str, Path]:
    """The files of these networks, downloaded where they are not there yet, by name. Every process must call it.

    Args:
        wanted: names in `NAMES`; "lpips" is not needed where "vgg16" is given as the official program, which has it.
        given: files or URLs that take the place of the published ones; names that nobody wants are passed over.
        remedy: what a user could do who cannot have one, "or ..." at the end of the error's sentence.

    Raises:
        FileNotFoundError, ValueError: when one is not there and cannot be had, saying where to put it.
    """
    if not distributed.is_first():
        distributed.barrier()
    files = {name: _file(name, given.get(name, ""), remedy) for name in wanted}
    if distributed.is_first():
        distributed.barrier()
    return files


def has_lpips(given: Mapping[str, str]) -> bool:
    """Whether the file given for VGG16 is, or will be once it is downloaded, the program that has LPIPS within it."""
    place = given.get("vgg16", "")
    return place.endswith(".pt") if _is_url(place) else is_torchscript(Path(place))


def _is_url(place: str) -> bool:
    return place.startswith(("https://", "http://"))


def _file(name: str, place: str, remedy: str) -> Path:
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
    path = fetch(known.url, folder / known.file, known.digest, f"or give --detector {name}=PATH, {remedy}")
    if not (found := sha256(path)).startswith(known.digest):  # which somebody may have put there
        raise ValueError(
            f"{path} is not {known.what}: its digest begins with {found[:8]}, not {known.digest[:8]}; "
            f"delete it, so that it is downloaded anew, or give --detector {name}=PATH"
        )
    return path
