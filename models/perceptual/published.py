"""Networks that others trained and published: their names, where their files are, and how users name other files.

The published files are plain weights, and reading them runs no code. A TorchScript file is a program: it is used only
where the user says so with --trust.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.perceptual.weights import is_torchscript
from system.cache import cache_folder
from system.urls import is_url, pinned, public
from torch_utils import distributed
from torch_utils.download import fetch, kept, sha256


@dataclass(frozen=True)
class Published:
    """Weights that others published: the name of the file, where it is, and its SHA-256."""

    file: str
    url: str
    digest: str
    what: str


PUBLISHED = {
    "inception": Published(
        "pt_inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        "the Inception v3 of the FID",
    ),
    "vgg16": Published(
        "vgg16-397923af.pth",
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        "VGG16",
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
EXAMPLE = "inception=pt_inception-2015-12-05-6726825d.pth"


def parse_files(texts: Sequence[str]) -> dict[str, str]:
    """`["inception=PATH"]` -> `{"inception": "PATH"}`, as `--detector` was given; PATH may end in `#sha256=DIGEST`.

    Raises:
        ValueError: when one is not NAME=PATH, or is named twice, or there is no such detector, or a digest is none.
    """
    files: dict[str, str] = {}
    for text in texts:
        name, equals, place = text.partition("=")
        if not equals or not place:
            raise ValueError(f"--detector got {public(text)!r}, wanted NAME=PATH, such as {EXAMPLE}")
        if name not in NAMES:
            raise ValueError(f"--detector {name}: there is no such detector; they are {', '.join(NAMES)}")
        if name in files:
            raise ValueError(f"--detector {name} was given twice: give it once")
        pinned(place)
        files[name] = place
    return files


def check_trust(trust: bool, given: Mapping[str, str]) -> None:
    """Raises ValueError when --trust is given and there is no --detector that it could be about."""
    if trust and not given:
        raise ValueError("--trust is about the files of --detector, and none is given: leave it out")


def find_networks(wanted: Sequence[str], given: Mapping[str, str], remedy: str, trust: bool) -> dict[str, Path]:
    """The files of these networks, downloaded where they are not there yet, by name. Every process must call it.

    Args:
        wanted: names in `NAMES`; "lpips" is not needed where "vgg16" is given as the official program, which has it.
        given: files or URLs that take the place of the published ones; unused names are ignored.
        remedy: what a user could do who cannot have one, "or ..." at the end of the error's sentence.
        trust: whether a given file may be a program.

    Raises:
        FileNotFoundError, ValueError: when one is not there and cannot be had, saying where to put it; when it has not
            the digest that was given; or is a program that is not trusted.
    """
    if not distributed.is_first():
        distributed.barrier()
    files = {name: _given(name, given[name], trust) if given.get(name) else _published(name, remedy) for name in wanted}
    if distributed.is_first():
        distributed.barrier()
    return files


def has_lpips(given: Mapping[str, str]) -> bool:
    """Whether the file given for VGG16 is, or will be once it is downloaded, the program that has LPIPS within it."""
    place, _ = pinned(given.get("vgg16", ""))
    return place.endswith(".pt") if is_url(place) else is_torchscript(Path(place))


def _given(name: str, text: str, trust: bool) -> Path:
    """The file that a user named."""
    place, digest = pinned(text)
    option = f"--detector {name}={public(place)}"
    if is_url(place):
        remedy = f"or give --detector {name}=PATH"
        path = fetch(place, kept(place, "detectors"), digest, remedy, check=_check_whole)
    else:
        path = Path(place)
        if not path.is_file():
            raise FileNotFoundError(f"{option}: there is no such file; check the path")
    found = sha256(path) if digest or is_url(place) else ""
    if digest and found != digest:
        raise ValueError(f"{option}: the SHA-256 of {path} is {found}, not {digest}: it is another file than you meant")
    if is_torchscript(path):
        _check_program(option, trust, found if is_url(place) and not digest else "")
    return path


def _check_whole(path: Path) -> None:
    """Raises ValueError for a file of PyTorch that was cut short: its archive ends with the list of its parts."""
    with path.open("rb") as file:
        if file.read(2) == b"PK" and not zipfile.is_zipfile(path):
            raise ValueError(f"{path} is cut short")


def _check_program(option: str, trust: bool, unpinned: str) -> None:
    """Raises ValueError unless the user trusts the program and, where it comes from a URL, says which one it is."""
    if not trust:
        raise ValueError(
            f"{option} is a TorchScript file, which is a program and can do whatever you can do on this machine: give "
            f"--trust if you trust those you have it from, or a file of weights (see docs/metrics.md)"
        )
    if unpinned:
        raise ValueError(
            f"{option} is a program, and a URL may give another one tomorrow: say which one you trust, as in "
            f"{option}#sha256={unpinned}, which is what was sent now"
        )


def _published(name: str, remedy: str) -> Path:
    """The published file of this name."""
    if name not in PUBLISHED:
        raise FileNotFoundError(
            f"the detector {name} has to be given: --detector {name}=PATH of a TorchScript file (see docs/metrics.md)"
        )
    known = PUBLISHED[name]
    path = cache_folder() / "detectors" / known.file
    fetch(known.url, path, known.digest, f"or give --detector {name}=PATH, {remedy}")
    if not (found := sha256(path)).startswith(known.digest):  # which somebody may have put there
        raise ValueError(
            f"{path} is not {known.what}: its digest begins with {found[:8]}, not {known.digest[:8]}; "
            f"delete it, so that it is downloaded anew, or give --detector {name}=PATH"
        )
    return path
