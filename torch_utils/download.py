"""Files from the network, fetched once: checked by their digest, kept in the user's cache, shared between processes."""

import hashlib
import http.client
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock
from tqdm import tqdm

from system.files import replacing

FOLDER = "stylegan2"  # of this project, in the cache
CHUNK = 2**18
PATIENCE = 30.0  # seconds without a byte


def cache_folder() -> Path:
    """Where this project keeps what can be had again: `~/.cache/stylegan2`, or under XDG_CACHE_HOME."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / FOLDER


def kept(url: str, room: str) -> Path:
    """Where the file of a URL is kept in a room of the cache, such as "networks"; each URL has a path of its own.

    Args:
        url: any URL, without a `#sha256=`.
        room: a folder of the cache.
    """
    name = re.sub(r"[^\w.-]", "_", Path(urlsplit(url).path).name)[-80:]
    return cache_folder() / room / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{name}"


def fetch(url: str, path: Path, digest: str = "", remedy: str = "") -> Path:
    """The file at `path`, which is downloaded if it is not there yet. It appears whole or not at all.

    Of several processes that want it at once, one downloads and the others wait.

    Args:
        url: where it comes from.
        path: where it is kept.
        digest: how its SHA-256 begins, or its MD5 of 32 digits; empty where neither is known.
        remedy: what a user could do instead, "or ..." at the end of the error's sentence.

    Raises:
        ValueError: when it cannot be had, or is not what it should be: what, from where, and what to do.
    """
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if not path.is_file():
            _download(url, path, digest, f"fetch it elsewhere and put it at {path}{remedy and f', {remedy}'}")
    return path


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _NetworkError(Exception):
    """What went wrong on the way here, and not on our disk."""


def _download(url: str, path: Path, digest: str, mend: str) -> None:
    known = hashlib.md5(usedforsecurity=False) if len(digest) == 32 else hashlib.sha256()
    with replacing(path) as temporary:
        try:
            with temporary.open("wb") as file:
                for chunk in _received(url, path.name):
                    known.update(chunk)
                    file.write(chunk)
        except _NetworkError as error:
            raise ValueError(f"cannot download {path.name} from {url} ({error}): {mend}") from error
        if not known.hexdigest().startswith(digest):
            raise ValueError(
                f"what {url} sends is not {path.name}: its digest begins with {known.hexdigest()[:8]}, "
                f"not {digest[:8]}; {mend}"
            )


def _received(url: str, name: str) -> Iterator[bytes]:
    """What a URL sends, with a progress bar on a terminal."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            total, done = int(answer.headers.get("Content-Length") or 0), 0
            quiet = None if sys.stderr.isatty() else True
            with tqdm(total=total or None, unit="B", unit_scale=True, desc=f"downloading {name}", disable=quiet) as bar:
                while chunk := answer.read(CHUNK):
                    done += len(chunk)
                    bar.update(len(chunk))
                    yield chunk
    except (OSError, http.client.HTTPException, ValueError) as error:
        told = isinstance(error, urllib.error.HTTPError)  # which speaks of its number, unlike its reason
        raise _NetworkError(str(error if told else getattr(error, "reason", error))) from error
    if done < total:
        raise _NetworkError(f"the connection broke after {done} of {total} bytes")
