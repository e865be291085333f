"""Where networks are: files and run folders, URLs, the Hugging Face Hub, and published networks by their names."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from models.hub import from_hub
from system.cache import cache_folder
from system.urls import is_url, pinned
from torch_utils.download import Check, check_digest, fetch, kept

KINDS = "a file, a run folder, a URL, hf://USER/NAME, or the name of a published network"

_NAME = re.compile(r"[\w-]+")


class Published(NamedTuple):
    """A network that others published: where it is, and its SHA-256 where that is known.

    NVIDIA publishes no digests. That of ffhq256 is from a file that was fetched and looked at; the others are checked
    only for being a StyleGAN2 network.
    """

    url: str
    digest: str = ""


def _published(folder: str, files: dict[str, str]) -> dict[str, Published]:
    return {name: Published(f"{folder}/{file}.pkl") for name, file in files.items()}


_CDN = "https://nvlabs-fi-cdn.nvidia.com"
_ADA = f"{_CDN}/stylegan2-ada-pytorch/pretrained"
_NGC = "https://api.ngc.nvidia.com/v2/models/nvidia/research/stylegan2/versions/1/files"
_SOURCES = {  # what StyleGAN2-ADA's transfer learning starts from, by the names of its --resume
    "ffhq256": "ffhq-res256-mirror-paper256-noaug",
    "ffhq512": "ffhq-res512-mirror-stylegan2-noaug",
    "ffhq1024": "ffhq-res1024-mirror-stylegan2-noaug",
    "celebahq256": "celebahq-res256-mirror-paper256-kimg100000-ada-target0.5",
    "lsundog256": "lsundog-res256-paper256-kimg100000-noaug",
}
_TRAINED = ("ffhq", "metfaces", "afhqcat", "afhqdog", "afhqwild", "cifar10", "brecahad")  # StyleGAN2-ADA
_FIRST = ("ffhq", "car", "cat", "church", "horse")  # StyleGAN2, in TensorFlow
_LATER = (  # of both, published once more beside StyleGAN3
    *("afhqcat-512x512", "afhqdog-512x512", "afhqv2-512x512", "afhqwild-512x512", "brecahad-512x512"),
    *("celebahq-256x256", "cifar10-32x32", "ffhq-256x256", "ffhq-512x512", "ffhq-1024x1024", "ffhqu-256x256"),
    *("ffhqu-1024x1024", "lsundog-256x256", "metfaces-1024x1024", "metfacesu-1024x1024"),
)
PUBLISHED: dict[str, Published] = {
    **_published(f"{_ADA}/transfer-learning-source-nets", _SOURCES),
    **_published(_ADA, {name: name for name in _TRAINED}),
    **_published(f"{_CDN}/stylegan2/networks", {f"stylegan2-{n}-config-f": f"stylegan2-{n}-config-f" for n in _FIRST}),
    **_published(_NGC, {f"stylegan2-{name}": f"stylegan2-{name}" for name in _LATER}),
}
PUBLISHED["ffhq256"] = PUBLISHED["ffhq256"]._replace(
    digest="7aa4ddeee38e007ce92a1a0bccd386fc6abba6b5c8692bdbe813d3f1987c0722"
)


def locate(place: str | Path, check: Check | None = None) -> Path:
    """The file or folder that a place means, downloaded where it is elsewhere and was not downloaded before.

    What is there under that path goes before everything else that the text may mean.

    Args:
        place: a path, a URL, `hf://user/name` as `from_hub` takes it, or a name in `PUBLISHED`. A URL may end in
            `#sha256=DIGEST`, which its file must have. A path is returned unchanged, whether or not it exists.
        check: reads a file of a URL as what it should be, and raises ValueError when it is not.

    Raises:
        FileNotFoundError: when it is a name, and no published network has it.
        ValueError: when it cannot be had, or is not what it should be, saying which file to put where.
    """
    text = str(place)
    if not text:
        raise ValueError(f"no place of a network was given: give {KINDS}")
    if os.path.exists(text):  # noqa: PTH110 (a URL may be too long for the name of a file)
        return Path(text)
    if text in PUBLISHED:
        return fetch(PUBLISHED[text].url, _kept(PUBLISHED[text].url), PUBLISHED[text].digest, check=check)
    if is_url(text):
        return fetch(text, _kept(text), check=check)
    if text.lower().startswith("hf://"):
        return _from_hub(text)
    if _NAME.fullmatch(text):
        raise FileNotFoundError(
            f"there is no file or folder {text}, and no published network of that name: give {KINDS}, which are "
            f"{', '.join(PUBLISHED)}"
        )
    return Path(text)


def _from_hub(text: str) -> Path:
    place, digest = pinned(text)
    path = from_hub(place)
    if digest:
        try:
            check_digest(path, digest)
        except ValueError as error:
            raise ValueError(f"{place} is another file than #sha256= says: {error}") from error
    return path


def _kept(url: str) -> Path:
    """Where in the cache the file of a URL is kept; other URLs may have files of the same name."""
    url, _ = pinned(url)
    if any(url == published.url for published in PUBLISHED.values()):
        return cache_folder() / "networks" / url.rpartition("/")[2]
    return kept(url, "networks")
