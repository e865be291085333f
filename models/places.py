"""The places of networks: files, run folders, URLs, the Hugging Face Hub, and names of published networks."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from models.hub import from_hub
from system.resources import cache_folder
from system.text import is_url, pinned
from torch_utils.download import Check, check_digest, fetch, kept

KINDS = "a file, a run folder, a URL, hf://USER/NAME, or the name of a published network"

_NAME = re.compile(r"[\w-]+")


class Published(NamedTuple):
    """A network that others published: its URL, and its SHA-256 if that is known."""

    url: str
    digest: str = ""


def locate(place: str | Path, published: Mapping[str, Published], check: Check | None = None) -> Path:
    """Return the path of a network, downloaded on first use if the place is elsewhere.

    An existing file or folder of that name is preferred to every other meaning of the text.

    Args:
        place: a path, a URL, `hf://USER/NAME` as `from_hub` takes it, or a name in `published`. A URL may end in
            `#sha256=DIGEST`, the digest of its file. A path is returned unchanged, whether or not it exists.
        published: networks that can be named.
        check: reads a downloaded file, and raises ValueError if it is no network.

    Raises:
        FileNotFoundError: if the name is unknown.
        ValueError: if the download fails, with the file to fetch by hand and where to put it.
    """
    text = str(place)
    if not text:
        raise ValueError(f"the place of a network is empty: give {KINDS}")
    if os.path.exists(text):  # noqa: PTH110 (a URL may be too long for the name of a file)
        return Path(text)
    if text in published:
        url, digest = published[text]
        return fetch(url, _kept(url, published), digest, check=check)
    if is_url(text):
        return fetch(text, _kept(text, published), check=check)
    if text.lower().startswith("hf://"):
        return _from_hub(text)
    if _NAME.fullmatch(text):
        raise FileNotFoundError(
            f"there is no file or folder {text}, and no published network of that name: give {KINDS}; known names are "
            f"{', '.join(published)}"
        )
    return Path(text)


def _from_hub(text: str) -> Path:
    place, digest = pinned(text)
    path = from_hub(place)
    if digest:
        try:
            check_digest(path, digest)
        except ValueError as error:
            raise ValueError(f"{place} is another file than #sha256= states: {error}") from error
    return path


def _kept(url: str, published: Mapping[str, Published]) -> Path:
    """The path of a URL's file in the cache. Only published files keep their plain names."""
    url, _ = pinned(url)
    if any(url == known.url for known in published.values()):
        return cache_folder() / "networks" / url.rpartition("/")[2]
    return kept(url, "networks")
