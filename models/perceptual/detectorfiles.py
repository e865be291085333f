"""Files of detectors: the published ones, and those that users name in their place.

The published files are plain weights; reading them runs no code. A TorchScript file is a program, and is used only with
--trust.
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from models.perceptual.extractors import DOCUMENT, is_torchscript
from system.resources import cache_folder
from system.text import is_url, pinned, public
from torch_utils import distributed
from torch_utils.cli import option
from torch_utils.download import fetch, kept, sha256


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


def detector_options(group: str, names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a script --detector and --trust, as `detectors` and `trust`; `names` are the detectors that it can use."""
    detector = option(
        "--detector",
        "detectors",
        multiple=True,
        metavar="NAME=PATH",
        group=group,
        help=f"file or URL of a detector, instead of the published one: {names}; #sha256=DIGEST after it is its digest",
    )
    trust = option("--trust", is_flag=True, group=group, help="run files of --detector that are programs (TorchScript)")
    return lambda script: detector(trust(script))


def parse_files(texts: Sequence[str]) -> dict[str, str]:
    """The values of `--detector`, `["inception=PATH"]` -> `{"inception": "PATH"}`; PATH may end in `#sha256=DIGEST`.

    Raises:
        ValueError: if a value is not NAME=PATH, a name is unknown or repeated, or a digest is malformed.
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
    """The files of these detectors by name, downloaded on first use. Every rank must call this function.

    Args:
        wanted: names in `NAMES`. "lpips" is not needed if "vgg16" is given as the official program, which contains it.
        given: files or URLs to use in place of the published files; unused names are ignored.
        remedy: an alternative for the user, "or ...", at the end of the error if a download fails.
        trust: whether a given file may be a program.

    Raises:
        FileNotFoundError, ValueError: if a file is missing and cannot be downloaded, has another digest than stated, or
            is a program without `trust`.
    """
    if not distributed.is_first():
        distributed.barrier()
    files = {name: _given(name, given[name], trust) if given.get(name) else _published(name, remedy) for name in wanted}
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


def _published(name: str, remedy: str) -> Path:
    """The published file of this name, downloaded on first use."""
    if name not in PUBLISHED:
        raise FileNotFoundError(
            f"the detector {name} must be given: --detector {name}=PATH of a TorchScript file ({DOCUMENT})"
        )
    known = PUBLISHED[name]
    path = cache_folder() / "detectors" / known.file
    return fetch(known.url, path, known.digest, f"or give --detector {name}=PATH, {remedy}")
