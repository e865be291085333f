"""Networks of the Hugging Face Hub, by `hf://USER/NAME`. `huggingface_hub` caches the files."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
    repository, file = _parse(place)
    found = repository.fetch(file or MODEL)
    if found is None and file is None:
        file = _only(place, repository.files())
        found = repository.fetch(file)
    elif file is None:
        with suppress(ValueError):  # offline, the cache may hold the model alone
            repository.fetch(CONFIG)
    if found is None:
        raise ValueError(f"{place}: the repository has no file {file}")
    return found


@dataclass(frozen=True)
class _Repository:
    place: str
    name: str
    revision: str | None

    def fetch(self, file: str) -> Path | None:
        """The path of a file; None if the repository has no such file."""
        with self._explained(file):
            from huggingface_hub import hf_hub_download
            from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

            try:
                return Path(hf_hub_download(self.name, file, revision=self.revision))
            except LocalEntryNotFoundError:
                raise  # offline, and not in the cache
            except EntryNotFoundError:
                return None

    def files(self) -> list[str]:
        """The names of the files."""
        with self._explained(MODEL):
            from huggingface_hub import list_repo_files

            return list(list_repo_files(self.name, revision=self.revision))

    @contextmanager
    def _explained(self, file: str) -> Iterator[None]:
        """Turn errors of the connection, the Hub and its package, which share no base class, into one sentence."""
        try:
            yield
        except ImportError as error:
            raise ValueError(f"{self.place} needs a package: pip install huggingface_hub") from error
        except Exception as error:
            told = printable((str(error).strip() or type(error).__name__).splitlines()[0])
            raise ValueError(
                f"cannot download {file} of {self.place} ({told}): download it from https://huggingface.co/{self.name} "
                f"by other means, and give its path"
            ) from error


def _parse(place: str) -> tuple[_Repository, str | None]:
    found = _PLACE.fullmatch(place)
    if found is None:
        raise ValueError(f"{place} is not a place on the Hub: give hf://USER/NAME, optionally with @REVISION and /FILE")
    return _Repository(place, found[1], found[2]), found[3]


def _only(place: str, files: list[str]) -> str:
    """The only network file of a repository."""
    networks = sorted(name for name in files if name.endswith(ENDINGS))
    if not networks:
        raise ValueError(f"{place} has no network file ({', '.join(ENDINGS)}): give another place")
    if len(networks) > 1:
        listed = ", ".join(printable(name, 100) for name in networks[:LISTED_AT_MOST])
        raise ValueError(
            f"{place} has no {MODEL}, but {listed}: name one, such as {place}/{printable(networks[0], 100)}"
        )
    return networks[0]
