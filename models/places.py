"""The places of networks: files, run folders, URLs, the Hugging Face Hub, and names of published networks."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from system.resources import cache_folder
from system.text import is_url, pinned, printable
from torch_utils import download

KINDS = "a file, a run folder, a URL, hf://USER/NAME, or the name of a published network"
MODEL, CONFIG, CARD, SAMPLES = "model.safetensors", "config.json", "README.md", "samples.png"  # in folders of the Hub
ENDINGS = (".safetensors", ".pkl", ".pt")  # of network files
LISTED_AT_MOST = 20  # files in a sentence

_NAME = re.compile(r"[\w-]+")
_ON_HUB = re.compile(r"(?i:hf)://([\w.-]+/[\w.-]+)(?:@([\w.-]+))?(?:/(.+))?")


class Published(NamedTuple):
    """A network that others published: its URL, and its SHA-256 if that is known."""

    url: str
    digest: str = ""


def locate(place: str | Path, published: Mapping[str, Published], check: download.Check | None = None) -> Path:
    """Return the path of a network, downloaded on first use: a path, URL, `hf://USER/NAME` or name in `published`.

    An existing file or folder comes first; a path is returned unchanged. `#sha256=DIGEST` may end a URL. `check` raises
    ValueError for unfit downloads. Raises FileNotFoundError for unknown names, ValueError for failed downloads.
    """
    text = str(place)
    if not text:
        raise ValueError(f"the place of a network is empty: give {KINDS}")
    if os.path.exists(text):  # noqa: PTH110 (a URL may be too long for the name of a file)
        return Path(text)
    if text in published or is_url(text):
        url, digest = published.get(text, Published(text))
        return download.fetch(url, cached(url, published), digest, check=check)
    if text.lower().startswith("hf://"):
        return from_hub(text)
    if _NAME.fullmatch(text):
        raise FileNotFoundError(
            f"there is no file or folder {text}, and no published network of that name: give {KINDS}; known names are "
            f"{', '.join(published)}"
        )
    return Path(text)


def cached(url: str, published: Mapping[str, Published]) -> Path:
    """Return the path of a URL's file in the cache. Only published files keep their plain names."""
    url, _ = pinned(url)
    if any(url == known.url for known in published.values()):
        return cache_folder() / "networks" / url.rpartition("/")[2]
    return download.kept(url, "networks")


def from_hub(text: str) -> Path:
    """Return the path of a repository's network, which `huggingface_hub` downloads on first use.

    `hf://USER/NAME` may end in `@REVISION`, `/FILE` and `#sha256=DIGEST`. The default file is `model.safetensors` with
    `config.json` beside it, or else the only network file. Raises ValueError if there is no such file.
    """
    place, digest = pinned(text)
    parsed = _ON_HUB.fullmatch(place)
    if parsed is None:
        raise ValueError(f"{place} is not a place on the Hub: give hf://USER/NAME, optionally with @REVISION and /FILE")
    name, revision, file = parsed.groups()
    path = _of_hub(place, name, file or MODEL, revision)
    if path is None and file is None:
        names = sorted(found for found in _of_hub(place, name, "", revision) if found.endswith(ENDINGS))
        if len(names) != 1:
            listed = ", ".join(printable(found, 100) for found in names[:LISTED_AT_MOST]) or "no network file"
            raise ValueError(f"{place} has {listed} and no {MODEL}: name a file, such as {place}/NAME.pkl")
        path = _of_hub(place, name, names[0], revision)
    elif file is None:
        with suppress(ValueError):  # offline, the cache may hold the model alone
            _of_hub(place, name, CONFIG, revision)
    if path is None:
        raise ValueError(f"{place}: the repository has no file {file}")
    if digest and (found := download.sha256(path)) != digest:
        differs = f"its digest begins with {found[:8]}, not {digest[:8]}"
        raise ValueError(f"{place} is another file than #sha256= states: {differs}")
    return path


def _of_hub(place: str, name: str, file: str, revision: str | None) -> Any:
    """The path of a file, None if the repository lacks it; for "" the names of all files.

    Errors of the connection, the Hub and its package share no base class. They become one sentence.
    """
    try:
        from huggingface_hub import hf_hub_download, list_repo_files
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            if not file:
                return list(list_repo_files(name, revision=revision))
            return Path(hf_hub_download(name, file, revision=revision))
        except LocalEntryNotFoundError:
            raise  # offline, and not in the cache
        except EntryNotFoundError:
            return None
    except ImportError as error:
        raise ValueError(f"{place} needs a package: pip install huggingface_hub") from error
    except Exception as error:
        told = printable((str(error).strip() or type(error).__name__).splitlines()[0])
        raise ValueError(
            f"cannot download {file or MODEL} of {place} ({told}): download it from https://huggingface.co/{name} "
            f"by other means, and give its path"
        ) from error
