"""Where networks are: files and run folders, URLs, the Hugging Face Hub, and published networks by their names."""

import re
from pathlib import Path
from typing import NamedTuple

from models.hub import from_hub
from torch_utils.download import cache_folder, fetch, kept

KINDS = "a file, a run folder, a URL, hf://USER/NAME, or the name of a published network"

_NAME = re.compile(r"[\w-]+")


class Published(NamedTuple):
    """A network that others published: where it is, and how its SHA-256 begins where that is known."""

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


def locate(place: str | Path) -> Path:
    """The file or folder that a place means, downloaded where it is elsewhere and was not downloaded before.

    What is there under that path goes before everything else that the text may mean.

    Args:
        place: a path, a URL, `hf://user/name` as `from_hub` takes it, or a name in `PUBLISHED`. A path of which it
            must be found out whether it is there is returned as it is.

    Raises:
        FileNotFoundError: when it is a name, and no published network has it.
        ValueError: when it cannot be had, saying which file to put where.
    """
    text = str(place)
    if not text:
        raise ValueError(f"no place of a network was given: give {KINDS}")
    if Path(text).exists():
        return Path(text)
    if text in PUBLISHED:
        return fetch(PUBLISHED[text].url, _kept(PUBLISHED[text].url), PUBLISHED[text].digest)
    if text.startswith(("https://", "http://")):
        return fetch(text, _kept(text))
    if text.startswith("hf://"):
        return from_hub(text)
    if _NAME.fullmatch(text):
        raise FileNotFoundError(
            f"there is no file or folder {text}, and no published network of that name: give {KINDS}, which are "
            f"{', '.join(PUBLISHED)}"
        )
    return Path(text)


def _kept(url: str) -> Path:
    """Where in the cache the file of a URL is kept; other URLs may have files of the same name."""
    if any(url == published.url for published in PUBLISHED.values()):
        return cache_folder() / "networks" / url.rpartition("/")[2]
    return kept(url, "networks")
