"""Downloads files over HTTP into a cache, once, checked by digest or by reading them.

Redirects lead to http and https only, never from https to http, and never from the internet into the local network.
User name and password of a URL are sent to its own host only.
"""

import base64
import contextlib
import hashlib
import http.client
import ipaddress
import re
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from filelock import FileLock
from tqdm import tqdm

from system.files import replacing
from system.resources import cache_folder
from system.text import is_url, pinned, printable, public, without_secrets
from system.untrusted import mistaken
from torch_utils.terminal import is_terminal, put

LARGEST = 2**32  # bytes of a file
CHUNK = 2**18  # bytes
SILENCE = 30.0  # seconds without a byte
START = 60.0  # seconds until the average speed counts
SLOWEST = 2**14  # bytes per second on average

Check = Callable[[Path], object]  # reads a file; raises ValueError if the file is unfit


class WebError(Exception):
    """The reason why a URL cannot be received, as part of a sentence."""


def kept(url: str, room: str) -> Path:
    """Return the path of a URL's file in a folder `room` of the cache: one for each URL, regardless of `#sha256=`."""
    url = url.partition("#")[0]
    name = re.sub(r"[^\w.-]", "_", url.partition("?")[0].rpartition("/")[2])[-80:]
    return cache_folder() / room / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{name}"


def fetch(
    url: str, path: Path, digest: str = "", remedy: str = "", check: Check | None = None, largest: int = LARGEST
) -> Path:
    """Return the file at `path`, and download it first if it is missing or damaged. It appears whole or not at all.

    When several processes want a file at once, one downloads and the others wait. The SHA-256 of a file without a known
    digest is printed on standard error. Raises ValueError if the file cannot be downloaded or is unfit.

    Args:
        digest: the beginning of its SHA-256; "" if unknown. `URL#sha256=DIGEST` gives it, too.
        remedy: what a user could do instead: "or ...", the end of the error's sentence.
        check: reads a file without a digest at each use, and raises ValueError if it is unfit.
    """
    url, pin = pinned(url)
    parts = _parts(url)
    digest, shown = pin or digest.lower(), printable(public(url))
    mend = f"download it by other means to {path}" + (remedy and f", {remedy}")
    if path.is_file() and not _fault(path, path.name, digest, check):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, NotImplementedError):  # without locks, the last of several downloads stays
            stack.enter_context(FileLock(path.with_name(f".{path.name}.lock")))
        if path.is_file():
            if not (fault := _fault(path, path.name, digest, check)):
                return path  # another process was faster
            put(f"the cached file of {shown} {fault}: downloading it again\n", sys.stderr)
        try:
            with replacing(path) as temporary:
                _download(parts, temporary, path.name, largest)
                if fault := _fault(temporary, path.name, digest, check):
                    raise ValueError(f"the file from {shown} {fault}; {mend}")
                if not digest:
                    size, found = temporary.stat().st_size / 1e6, sha256(temporary)
                    offer = f"Its digest is not known; {shown}#sha256={found} is checked at each use"
                    put(f"fetched {shown}, {size:.3g} MB, SHA-256 {found}. {offer}\n", sys.stderr)
        except WebError as error:
            raise ValueError(f"cannot download {path.name} from {shown} ({error}): {mend}") from error
    return path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fault(path: Path, name: str, digest: str, check: Check | None) -> str:
    """Return why a file is unfit, as the rest of a sentence; "" if it is fit."""
    if what := mistaken(path):
        return f"is {what}"
    try:
        if digest and not (found := sha256(path)).startswith(digest):
            raise ValueError(f"its digest begins with {found[:8]}, not {digest[:8]}")
        if not digest and check is not None:
            check(path)
    except ValueError as error:
        reason = str(error).replace(str(path), "it")
        return f"is not {name}: {reason}" if digest else f"cannot be used ({reason})"
    return ""


def _download(parts: SplitResult, path: Path, name: str, largest: int) -> None:
    quiet = not is_terminal(sys.stderr)
    label = f"downloading {printable(name, 60)}"
    with path.open("wb") as file, tqdm(unit="B", unit_scale=True, desc=label, disable=quiet) as bar:
        for chunk, bar.total in _pieces(parts, largest):
            file.write(chunk)
            bar.update(len(chunk))


def _pieces(parts: SplitResult, largest: int) -> Iterator[tuple[bytes, int | None]]:
    """Yield the parts of a file, each with the size of the file; None if the server does not send it."""
    began, done = time.monotonic(), 0
    try:
        with urllib.request.build_opener(_Redirects).open(_request(parts), timeout=SILENCE) as answer:
            packing = (answer.headers.get("Content-Encoding") or "identity").strip().lower()
            if packing != "identity":
                raise WebError(f"it is compressed with {printable(packing, 40)}, which was not requested")
            size = None if answer.chunked else answer.length
            while chunk := answer.read1(CHUNK):
                done += len(chunk)
                if max(done, size or 0) > largest:
                    raise WebError(f"it is larger than {largest / 1e6:g} MB, the limit for such a file")
                yield chunk, size
                if time.monotonic() - began > START + done / SLOWEST:
                    raise WebError("it is too slow")
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            reason = error
        if isinstance(reason, TimeoutError):
            raise WebError(f"it has sent nothing for {SILENCE:g} seconds") from error
        raise WebError(printable(without_secrets(str(reason) or type(reason).__name__), 200)) from error
    if size is not None and done < size:
        raise WebError(f"the connection broke after {done} of {size} bytes")


def _request(parts: SplitResult) -> urllib.request.Request:
    path = quote(parts.path or "/", safe="/%:=&~+!$,;'@()*[]")
    query = f"?{quote(parts.query, safe='/?%:=&~+!$,;@()*[]')}" if parts.query else ""
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(f"{parts.scheme.lower()}://{host}{path}{query}")
    request.add_header("Accept-Encoding", "identity")
    if parts.username is not None:
        both = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(both.encode()).decode()}")
    return request


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        fp.close()  # its body is not needed, and may be endless
        try:
            host = _parts(newurl).hostname or ""
        except ValueError:
            raise WebError(f"it redirects to {printable(public(newurl), 100)}, which is not http or https") from None
        if req.type == "https" and not newurl.lower().startswith("https:"):
            raise WebError("it redirects from https to http, where anybody could change the file")
        if _is_local(host) and not _is_local(urlsplit(req.full_url).hostname or ""):
            raise WebError("it leads into the local network")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_local(host: str) -> bool:
    """Whether a host has an address that is not of the internet. False for an unknown name."""
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    return any(not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global for *_, address in found)


def _parts(url: str) -> SplitResult:
    with contextlib.suppress(ValueError):  # open brackets, a port that is not a number, an impossible host name
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        odd = re.search(r"[\x00-\x1f\x7f]", url) or re.search(r"\s", parts.netloc)
        if is_url(url) and parts.hostname and parts.port != 0 and not odd:
            return parts
    raise ValueError(f"{printable(public(url))} is not a URL: expected one such as https://host/path/file")
