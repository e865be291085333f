"""Networks of the Hugging Face Hub, by `hf://user/name`. Its package keeps what it fetched in a cache of its own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from models.hubfolder import CONFIG, MODEL
from system.text import printable

ENDINGS = (".safetensors", ".pkl", ".pt")  # of files that can be networks
LISTED_AT_MOST = 20  # files in a sentence

_PLACE = re.compile(r"(?i:hf)://([\w.-]+/[\w.-]+)(?:@([\w.-]+))?(?:/(.+))?")


def from_hub(place: str) -> Path:
    """The network of a repository, fetched where it was not before; with its configuration, if it has one, beside it.

    Args:
        place: `hf://user/name`, then as wanted `@revision`, then `/file`. Without a file it is `model.safetensors`,
            or the only one that can be a network.

    Raises:
        ValueError: when it is no such place, cannot be had, or it must be said which file is meant.
    """
    repository, file = _parse(place)
    found = repository.fetch(file or MODEL)
    if found is None and file is None:
        file = _only(place, repository.files())
        found = repository.fetch(file)
    elif file is None:
        with suppress(ValueError):  # offline, with the model in the cache, it may never have been there
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
        """One file; None where the repository has none of that name."""
        with self._explained(file):
            from huggingface_hub import hf_hub_download
            from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

            try:
                return Path(hf_hub_download(self.name, file, revision=self.revision))
            except LocalEntryNotFoundError:
                raise  # not in the cache, and the Hub cannot be asked
            except EntryNotFoundError:
                return None

    def files(self) -> list[str]:
        """The names of its files."""
        with self._explained(MODEL):
            from huggingface_hub import list_repo_files

            return list(list_repo_files(self.name, revision=self.revision))

    @contextmanager
    def _explained(self, file: str) -> Iterator[None]:
        """Errors of the network, of the Hub and of its package, which have no common ancestor, in one sentence."""
        try:
            yield
        except ImportError as error:
            raise ValueError(f"{self.place} needs a package: pip install huggingface_hub") from error
        except Exception as error:
            told = printable((str(error).strip() or type(error).__name__).splitlines()[0])
            raise ValueError(
                f"cannot fetch {file} of {self.place} ({told}): fetch it from https://huggingface.co/{self.name} "
                f"elsewhere, and give its path"
            ) from error


def _parse(place: str) -> tuple[_Repository, str | None]:
    found = _PLACE.fullmatch(place)
    if found is None:
        raise ValueError(f"{place} is no place on the Hub: give hf://USER/NAME, with @REVISION and /FILE as wanted")
    return _Repository(place, found[1], found[2]), found[3]


def _only(place: str, files: list[str]) -> str:
    """The one file of a repository that can be a network."""
    networks = sorted(name for name in files if name.endswith(ENDINGS))
    if not networks:
        raise ValueError(f"{place} has no network, that is no file in {', '.join(ENDINGS)}: give another place")
    if len(networks) > 1:
        listed = ", ".join(printable(name, 100) for name in networks[:LISTED_AT_MOST])
        raise ValueError(
            f"{place} has no {MODEL}, but {listed}: name one, such as {place}/{printable(networks[0], 100)}"
        )
    return networks[0]
