"""Downloads files into a cache, once, checked by digest or by reading them."""

import contextlib
import hashlib
import re
import sys
from collections.abc import Callable
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

Check = Callable[[Path], object]  # reads a file; raises ValueError if the file is unfit


def kept(url: str, room: str) -> Path:
    """Return the path of a URL's file in the cache: one for each URL, regardless of `#sha256=`.

    Args:
        url: any URL.
        room: a folder of the cache, such as "networks".
    """
    url = url.partition("#")[0]
    name = re.sub(r"[^\w.-]", "_", url.partition("?")[0].rpartition("/")[2])[-80:]
    return cache_folder() / room / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{name}"


def fetch(
    url: str, path: Path, digest: str = "", remedy: str = "", check: Check | None = None, largest: int = LARGEST
) -> Path:
    """Return the file at `path`, and download it first if it is missing or damaged. It appears whole or not at all.

    When several processes want a file at once, one downloads and the others wait. The SHA-256 of a file without a
    known digest is printed on standard error.

    Args:
        url: source; `URL#sha256=DIGEST` gives the digest, too.
        path: destination.
        digest: the beginning of its SHA-256; "" if unknown.
        remedy: what a user could do instead: "or ...", the end of the error's sentence.
        check: reads the file and raises ValueError if it is unfit. Called at each use of a file without a digest.
        largest: most bytes of the file.

    Raises:
        ValueError: if the file cannot be downloaded or is unfit.
    """
    url, pin = pinned(url)
    check_url(url)
    digest, shown = pin or digest.lower(), printable(public(url))
    mend = f"download it by other means to {path}" + (remedy and f", {remedy}")
    fault = _fault(path, path.name, digest, check) if path.is_file() else "is missing"
    if not fault:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, NotImplementedError):  # without locks, the last of several downloads stays
            stack.enter_context(FileLock(path.with_name(f".{path.name}.lock")))
        fault = _fault(path, path.name, digest, check) if path.is_file() else ""
        if path.is_file() and not fault:
            return path  # another process was faster
        if fault:
            put(f"the cached file of {shown} {fault}: downloading it again\n", sys.stderr)
        try:
            with replacing(path) as temporary:
                _download(url, temporary, largest)
                if found := _fault(temporary, path.name, digest, check):
                    raise ValueError(f"the file from {shown} {found}; {mend}")
                if not digest:
                    _offer_digest(shown, temporary)
        except WebError as error:
            raise ValueError(f"cannot download {path.name} from {shown} ({error}): {mend}") from error
    return path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_digest(path: Path, digest: str) -> None:
    """Raise ValueError unless a file's SHA-256 begins with `digest`."""
    if not (found := sha256(path)).startswith(digest):
        raise ValueError(f"its digest begins with {found[:8]}, not {digest[:8]}")


def _fault(path: Path, name: str, digest: str, check: Check | None) -> str:
    """Return why a file is unfit, as the rest of a sentence; "" if it is fit."""
    if what := mistaken(path):
        return f"is {what}"
    try:
        if digest:
            check_digest(path, digest)
        elif check is not None:
            check(path)
    except ValueError as error:
        reason = str(error).replace(str(path), "it")
        return f"is not {name}: {reason}" if digest else f"cannot be used ({reason})"
    return ""


def _offer_digest(shown: str, path: Path) -> None:
    size, digest = path.stat().st_size / 1e6, sha256(path)
    put(
        f"fetched {shown}, {size:.3g} MB, SHA-256 {digest}. Its digest is not known; {shown}#sha256={digest} is "
        "checked at each use\n",
        sys.stderr,
    )


def _download(url: str, path: Path, largest: int) -> None:
    done, name = 0, printable(path.name, 60)
    with open_url(url) as answer, path.open("wb") as file:
        quiet = not is_terminal(sys.stderr)
        bar = tqdm(total=answer.size, unit="B", unit_scale=True, desc=f"downloading {name}", disable=quiet)
        with bar:
            for chunk in answer.chunks:
                done += len(chunk)
                if max(done, answer.size or 0) > largest:
                    raise WebError(f"it is larger than {largest / 1e6:g} MB, the limit for such a file")
                file.write(chunk)
                bar.update(len(chunk))
