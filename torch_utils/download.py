"""Files from the network, fetched once: looked at before they are kept, shared between processes.

A file enters the cache once its digest is right, or, where none is known, once it was read as what it should be. A
file in the cache is looked at again at each use, and fetched anew when it is not what it should be.
"""

import contextlib
import hashlib
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

from system.cache import cache_folder
from system.content import mistaken
from system.files import replacing
from system.text import printable
from system.urls import pinned, public
from torch_utils.terminal import is_terminal, put
from torch_utils.web import WebError, check_url, open_url

LARGEST = 2**32  # bytes of a file
SPARED = 2**26  # bytes of a disk that are left free
LOOK_EVERY = 2**24  # bytes between looks at the free space

Check = Callable[[Path], object]  # reads a file as what it should be; raises ValueError when it is not


def kept(url: str, room: str) -> Path:
    """Where the file of a URL is kept in a room of the cache, such as "networks"; each URL has a path of its own.

    Args:
        url: any URL; a `#sha256=` at its end does not count.
        room: a folder of the cache.
    """
    url = url.partition("#")[0]
    name = re.sub(r"[^\w.-]", "_", url.partition("?")[0].rpartition("/")[2])[-80:]
    return cache_folder() / room / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{name}"


def fetch(
    url: str,
    path: Path,
    digest: str = "",
    remedy: str = "",
    check: Check | None = None,
    largest: int = LARGEST,
) -> Path:
    """Return the file at `path`, downloaded if it is not there yet. It appears whole or not at all.

    Of several processes that want it at once, one downloads and the others wait. The SHA-256 of a file whose digest
    was not known is printed on standard error.

    Args:
        url: where it comes from; `URL#sha256=DIGEST` gives the digest as well.
        path: where it is kept.
        digest: how its SHA-256 begins, or its MD5 of 32 digits; empty where neither is known.
        remedy: what a user could do instead, "or ..." at the end of the error's sentence.
        check: reads the file as what it should be, and raises ValueError when it is not. Called at each use of a file
            whose digest is not known.
        largest: bytes that it may have.

    Raises:
        ValueError: when it cannot be had, or is not what it should be: what, from where, and what to do.
    """
    url, pin = pinned(url)
    check_url(url)
    wanted = _Wanted(url, path, pin or digest.lower(), remedy, check, largest)
    if path.is_file() and not wanted.fault(path):
        return path
    with _alone(path):
        fault = wanted.fault(path) if path.is_file() else ""
        if not path.is_file() or fault:
            _replace(wanted, fault)
    return path


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    return _digest(path, "sha256")


def check_digest(path: Path, digest: str) -> None:
    """Raise ValueError unless the SHA-256 of a file begins with `digest`, or its MD5 is `digest`, of 32 digits."""
    if not (found := _digest(path, "md5" if len(digest) == 32 else "sha256")).startswith(digest):
        raise ValueError(f"its digest begins with {found[:8]}, not {digest[:8]}")


class _Wanted:
    """A file that is wanted: from where, and how it is told from others."""

    def __init__(self, url: str, path: Path, digest: str, remedy: str, check: Check | None, largest: int) -> None:
        self.url, self.path, self.digest, self.check, self.largest = url, path, digest, check, largest
        self.shown = printable(public(url))
        self.mend = f"fetch it elsewhere and put it at {path}{remedy and f', {remedy}'}"

    def fault(self, path: Path) -> str:
        """Why a file is not the one that is wanted, as the rest of a sentence; "" if it is."""
        if what := mistaken(path):
            return f"is {what}"
        try:
            if self.digest:
                check_digest(path, self.digest)
            elif self.check is not None:
                self.check(path)
        except ValueError as error:
            reason = str(error).replace(str(path), "it")
            return f"is not {self.path.name}: {reason}" if self.digest else f"cannot be used ({reason})"
        return ""


def _replace(wanted: _Wanted, fault: str) -> None:
    """Downloads a file in the place of one that has a fault, if one was there."""
    if fault:
        put(f"what was kept of {wanted.shown} {fault}: it is fetched anew\n", sys.stderr)
    try:
        with replacing(wanted.path) as temporary:
            _download(wanted, temporary)
            if found := wanted.fault(temporary):
                raise ValueError(f"what {wanted.shown} sends {found}; {wanted.mend}")
            _tell(wanted, temporary)
    except WebError as error:
        before = f"what was kept of it {fault}, and " if fault else ""
        raise ValueError(
            f"{before}cannot download {wanted.path.name} from {wanted.shown} ({error}): {wanted.mend}"
        ) from error


def _download(wanted: _Wanted, path: Path) -> None:
    quiet = None if is_terminal(sys.stderr) else True
    name, done, looked = printable(wanted.path.name, 60), 0, -LOOK_EVERY
    with open_url(wanted.url) as answer, path.open("wb") as file:
        bar = tqdm(total=answer.size, unit="B", unit_scale=True, desc=f"downloading {name}", disable=quiet)
        _check_size(answer.size or 0, wanted)
        with bar:
            for chunk in answer.chunks:
                if done - looked >= LOOK_EVERY:
                    looked = done
                    _check_room(max((answer.size or 0) - done, 0), wanted.path.parent)
                done += len(chunk)
                _check_size(done, wanted)
                file.write(chunk)
                bar.update(len(chunk))


def _check_size(size: int, wanted: _Wanted) -> None:
    if size > wanted.largest:
        raise WebError(f"it is larger than {_spelled(wanted.largest)}, the most that such a file may have")


def _check_room(needed: int, folder: Path) -> None:
    if (free := shutil.disk_usage(folder).free) < needed + SPARED:
        raise ValueError(
            f"no space left to download to {folder}, where {_spelled(free)} are free and {_spelled(needed + SPARED)} "
            f"are needed: free some, or set XDG_CACHE_HOME to a folder on another disk"
        )


def _tell(wanted: _Wanted, path: Path) -> None:
    """Says what was fetched unchecked, so that it can be pinned."""
    if not wanted.digest:
        found = sha256(path)
        put(
            f"fetched {wanted.shown}, {_spelled(path.stat().st_size)}, with the SHA-256 {found}. No digest of it is "
            f"known to check that; {wanted.shown}#sha256={found} is checked at each use\n",
            sys.stderr,
        )


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


def _spelled(size: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds the lock of a file in the cache; where there are no locks, the last of several downloads stays."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"the cache folder {path.parent} cannot be made ({error.strerror}): set XDG_CACHE_HOME to a folder that "
            f"can be written"
        ) from error
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, NotImplementedError):
            stack.enter_context(FileLock(path.with_name(f".{path.name}.lock")))
        yield
