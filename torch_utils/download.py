"""Downloads files into a cache, once, checked by digest or by reading them."""

import contextlib
import hashlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
    """Return the path of a URL's file in the cache; every URL has its own, whatever its `#sha256=`.

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
        digest: the beginning of its SHA-256, or its MD5 of 32 digits; "" if unknown.
        remedy: what a user could do instead: "or ...", the end of the error's sentence.
        check: reads the file and raises ValueError if it is unfit. Called at each use of a file without a digest.
        largest: most bytes of the file.

    Raises:
        ValueError: if the file cannot be downloaded or is unfit.
    """
    url, pin = pinned(url)
    check_url(url)
    wanted = _Wanted(url, path, pin or digest.lower(), remedy and f", {remedy}", check, largest)
    if path.is_file() and not wanted.fault(path):
        return path
    with _locked(path):
        fault = wanted.fault(path) if path.is_file() else ""
        if not path.is_file() or fault:
            _replace(wanted, fault)
    return path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    return _digest(path, "sha256")


def check_digest(path: Path, digest: str) -> None:
    """Raise ValueError unless a file's SHA-256 begins with `digest`, or its MD5 is `digest` (32 digits)."""
    if not (found := _digest(path, "md5" if len(digest) == 32 else "sha256")).startswith(digest):
        raise ValueError(f"its digest begins with {found[:8]}, not {digest[:8]}")


@dataclass(frozen=True)
class _Wanted:
    """A file to fetch; fields as the arguments of `fetch`."""

    url: str
    path: Path
    digest: str
    remedy: str
    check: Check | None
    largest: int

    @property
    def shown(self) -> str:
        return printable(public(self.url))

    @property
    def mend(self) -> str:
        return f"download it by other means to {self.path}{self.remedy}"

    def fault(self, path: Path) -> str:
        """Return why a file is unfit, as the rest of a sentence; "" if it is fit."""
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
    """Download a file over a faulty or missing one. The faulty file stays until the download succeeds."""
    if fault:
        put(f"the cached file of {wanted.shown} {fault}: downloading it again\n", sys.stderr)
    try:
        with replacing(wanted.path) as temporary:
            _download(wanted, temporary)
            if found := wanted.fault(temporary):
                raise ValueError(f"the file from {wanted.shown} {found}; {wanted.mend}")
            if not wanted.digest:
                digest = sha256(temporary)
                put(
                    f"fetched {wanted.shown}, {_spelled(temporary.stat().st_size)}, SHA-256 {digest}. Its digest is "
                    f"not known; {wanted.shown}#sha256={digest} is checked at each use\n",
                    sys.stderr,
                )
    except WebError as error:
        before = f"the cached file {fault}, and " if fault else ""
        raise ValueError(
            f"{before}cannot download {wanted.path.name} from {wanted.shown} ({error}): {wanted.mend}"
        ) from error


def _download(wanted: _Wanted, path: Path) -> None:
    quiet = None if is_terminal(sys.stderr) else True
    name, done = printable(wanted.path.name, 60), 0
    with open_url(wanted.url) as answer, path.open("wb") as file:
        bar = tqdm(total=answer.size, unit="B", unit_scale=True, desc=f"downloading {name}", disable=quiet)
        with bar:
            for chunk in answer.chunks:
                done += len(chunk)
                if max(done, answer.size or 0) > wanted.largest:
                    raise WebError(f"it is larger than {_spelled(wanted.largest)}, the limit for such a file")
                file.write(chunk)
                bar.update(len(chunk))


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
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file in the cache. Without file locks, the last of several downloads stays."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"the cache folder {path.parent} cannot be made ({error.strerror}): set XDG_CACHE_HOME to a writable folder"
        ) from error
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, NotImplementedError):
            stack.enter_context(FileLock(path.with_name(f".{path.name}.lock")))
        yield
