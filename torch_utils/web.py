"""Receives files over HTTP.

Redirects lead to http and https only, never from https to http, and never from the internet into the local network.
User name and password of a URL are sent to its own host only.
"""

import base64
import contextlib
import http.client
import ipaddress
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

from system.text import printable
from system.urls import is_url, public, without_secrets

CHUNK = 2**18  # bytes
SILENCE = 30.0  # seconds without a byte
START = 60.0  # seconds until the average speed counts
SLOWEST = 2**14  # bytes per second on average


class WebError(Exception):
    """The reason why a URL cannot be received, as part of a sentence."""


class Answer(NamedTuple):
    """The answer of a server."""

    size: int | None  # bytes; None if the server does not send the size
    chunks: Iterator[bytes]  # raises WebError


def check_url(url: str) -> SplitResult:
    """Return the parts of a URL. Raises ValueError if it is malformed."""
    try:
        parts = urlsplit(url)
        fine = is_url(url) and bool(parts.hostname) and parts.port != 0
        (parts.hostname or "").encode("idna")
    except ValueError:  # open brackets, a port that is not a number, an impossible host name
        fine = False
    if not fine or re.search(r"[\x00-\x1f\x7f]", url) or re.search(r"\s", parts.netloc):
        raise ValueError(f"{printable(public(url))} is not a URL: expected one such as https://host/path/file")
    return parts


@contextmanager
def open_url(url: str) -> Iterator[Answer]:
    """Request a file.

    Args:
        url: of http or https; with `user:password@` for a server that asks for them.

    Raises:
        ValueError: if the URL is malformed.
        WebError: if there is no answer, or an answer without a file.
    """
    request = _request(check_url(url))
    with contextlib.ExitStack() as stack:
        with _explained():
            answer = urllib.request.build_opener(_Redirects).open(request, timeout=SILENCE)
            stack.enter_context(contextlib.closing(answer))
        packing = (answer.headers.get("Content-Encoding") or "identity").strip().lower()
        if packing != "identity":
            raise WebError(f"it is compressed with {printable(packing, 40)}, which was not requested")
        size = None if answer.chunked else answer.length
        yield Answer(size, _chunks(answer, size))


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        fp.close()  # its body is not needed, and may be endless
        try:
            host = check_url(newurl).hostname or ""
        except ValueError:
            raise WebError(f"it redirects to {printable(public(newurl), 100)}, which is not http or https") from None
        if req.type == "https" and not newurl.lower().startswith("https:"):
            raise WebError("it redirects from https to http, where anybody could change the file")
        if is_local(host) and not is_local(urlsplit(req.full_url).hostname or ""):
            raise WebError("it leads into the local network")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def is_local(host: str) -> bool:
    """Whether a host has an address that is not of the internet. False for an unknown name."""
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    return any(not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global for *_, address in found)


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


def _chunks(answer: Any, size: int | None) -> Iterator[bytes]:
    began, done = time.monotonic(), 0
    with _explained():
        while chunk := answer.read1(CHUNK):
            done += len(chunk)
            yield chunk
            if time.monotonic() - began > START + done / SLOWEST:
                raise WebError("it is too slow")
    if size is not None and done < size:
        raise WebError(f"the connection broke after {done} of {size} bytes")


@contextmanager
def _explained() -> Iterator[None]:
    """Turn errors of the network into WebError."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        raise WebError(_reason(f"HTTP Error {error.code}: {error.reason}")) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            raise WebError(f"it has sent nothing for {SILENCE:g} seconds") from error
        raise WebError(_reason(str(reason) or type(reason).__name__)) from error


def _reason(text: str) -> str:
    return printable(without_secrets(text), 200)
