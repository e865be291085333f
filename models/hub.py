"""Networks of the Hugging Face Hub, by `hf://USER/NAME`. `huggingface_hub` caches the files."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from models.hubfolder import CONFIG, MODEL
from system.text import printable

ENDINGS = (".safetensors", ".pkl", ".pt")  # of network files
LISTED_AT_MOST = 20  # files in a sentence

_PLACE = re.compile(r"(?i:hf)://([\w.-]+/[\w.-]+)(?:@([\w.-]+))?(?:/(.+))?")


def from_hub(place: str) -> Path:
    """Return the path of a repository's network, downloaded on first use, with its configuration beside it if any.

    Args:
        place: `hf://USER/NAME`, optionally followed by `@REVISION` and `/FILE`. The default file is
            `model.safetensors`, or else the only network file of the repository.

    Raises:
        ValueError: if the place is malformed, the download fails, or several files could be meant.
    """
    parsed = _PLACE.fullmatch(place)
    if parsed is None:
        raise ValueError(f"{place} is not a place on the Hub: give hf://USER/NAME, optionally with @REVISION and /FILE")
    name, revision, file = parsed.groups()
    found = _fetch(place, name, revision, file or MODEL)
    if found is None and file is None:
        with _explained(place, name, MODEL):
            from huggingface_hub import list_repo_files

            files = list(list_repo_files(name, revision=revision))
        file = _only(place, files)
        found = _fetch(place, name, revision, file)
    elif file is None:
        with suppress(ValueError):  # offline, the cache may hold the model alone
            _fetch(place, name, revision, CONFIG)
    if found is None:
        raise ValueError(f"{place}: the repository has no file {file}")
    return found


def _fetch(place: str, name: str, revision: str | None, file: str) -> Path | None:
    """The path of a file; None if the repository has no such file."""
    with _explained(place, name, file):
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            return Path(hf_hub_download(name, file, revision=revision))
        except LocalEntryNotFoundError:
            raise  # offline, and not in the cache
        except EntryNotFoundError:
            return None


@contextmanager
def _explained(place: str, name: str, file: str) -> Iterator[None]:
    """Turn errors of the connection, the Hub and its package, which share no base class, into one sentence."""
    try:
        yield
    except ImportError as error:
        raise ValueError(f"{place} needs a package: pip install huggingface_hub") from error
    except Exception as error:
        told = printable((str(error).strip() or type(error).__name__).splitlines()[0])
        raise ValueError(
            f"cannot download {file} of {place} ({told}): download it from https://huggingface.co/{name} "
            f"by other means, and give its path"
        ) from error


def _only(place: str, files: list[str]) -> str:
    """The only network file of a repository."""
    networks = sorted(name for name in files if name.endswith(ENDINGS))
    if len(networks) != 1:
        listed = ", ".join(printable(name, 100) for name in networks[:LISTED_AT_MOST]) or "no network file"
        raise ValueError(f"{place} has {listed} and no {MODEL}: name a file, such as {place}/NAME.pkl")
    return networks[0]
