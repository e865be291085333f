"""What a URL answers over HTTP, received with patience that ends.

Redirects lead to HTTP(S) only, never from https to http, and never from the internet into the local network. A user
name and a password in the URL are sent to its own host alone.
"""

import base64
import contextlib
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from system.text import printable
from system.urls import is_url, public

CHUNK = 2**18
SILENCE = 30.0  # seconds without a byte
START = 60.0  # seconds until the answer begins, redirects included
SLOWEST = 2**14  # bytes a second on average, after `START`
REDIRECTS = 10
_MOVED = (301, 302, 303, 307, 308)


class WebError(Exception):
    """Why a URL cannot be received, as a reason within a sentence."""


class Answer(NamedTuple):
    """The body that a URL sends."""

    size: int | None  # bytes on the way here; None where the server does not tell
    chunks: Iterator[bytes]  # of the content, unpacked if the server packed it; raises WebError


def check_url(url: str) -> SplitResult:
    """The parts of a URL.

    Raises:
        ValueError: when it is malformed.
    """
    try:
        parts = urlsplit(url)
        fine = is_url(url) and bool(parts.hostname) and parts.port != 0
        (parts.hostname or "").encode("idna")
    except ValueError:  # brackets that are not closed, a port that is no number, a name that no host can have
        fine = False
    if not fine or re.search(r"[\x00-\x1f\x7f]", url) or re.search(r"\s", parts.netloc):
        raise ValueError(f"{printable(public(url))} is not a URL: expected one such as https://host/path/file")
    return parts


@contextmanager
def open_url(url: str) -> Iterator[Answer]:
    """Ask a server for a file.

    Args:
        url: of http or https, in any case; with `user:password@` for a server that asks for them.

    Raises:
        ValueError: when the URL is malformed.
        WebError: when there is no answer, or another than the file.
    """
    check_url(url)
    with contextlib.ExitStack() as stack:
        watch = _Watch()
        stack.callback(watch.end)
        with _explained(watch):
            answer = stack.enter_context(contextlib.closing(_follow(url, watch)))
        yield Answer(_size(answer), _chunks(answer, watch))


class _Watch:
    """Ends connections that take too long altogether, and keeps them out of the local network.

    A server that sends a byte now and then never lets a single read time out.
    """

    def __init__(self) -> None:
        self.began, self.late = time.monotonic(), False
        self.until = self.began + START
        self.local: bool | None = None  # whether the first host is in the local network
        self.by_proxy = False  # which is connected to in the place of the host
        self._sockets: list[socket.socket] = []
        self._over = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def received(self, count: int) -> None:
        """Moves the end with the bytes that have come so far."""
        self.until = self.began + START + count / SLOWEST

    def connect(self, address: tuple[str, int], timeout: Any = None, source: Any = None, **options: Any) -> Any:
        """As `socket.create_connection`, with the other side's address checked before anything is sent."""
        connection = socket.create_connection(address, timeout, source, **options)
        self._sockets.append(connection.dup())  # TLS takes the connection itself over
        if not self.by_proxy:
            self.check(connection.getpeername()[0])
        return connection

    def check(self, host: str) -> None:
        """Refuses an address of the local network after one of the internet. Names pass until they are connected to."""
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return
        address = getattr(address, "ipv4_mapped", None) or address
        if self.local is None:
            self.local = not address.is_global
        if not self.local and not address.is_global:
            raise WebError("it leads into the local network")

    def end(self) -> None:
        self._over.set()
        for each in self._sockets:
            each.close()

    def _run(self) -> None:
        while not self._over.wait(min(max(self.until - time.monotonic(), 0.01), 1.0)):
            if time.monotonic() > self.until:
                self.late = True
                for each in self._sockets:
                    with contextlib.suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)
                return


class _Unmoved(urllib.request.HTTPRedirectHandler):
    """Gives answers that point elsewhere as they are."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        return fp

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _opener(watch: _Watch) -> urllib.request.OpenerDirector:
    def watched(kind: type[http.client.HTTPConnection]) -> Any:
        def make(*args: Any, **more: Any) -> http.client.HTTPConnection:
            connection = kind(*args, **more)
            connection._create_connection = watch.connect  # type: ignore[attr-defined]
            return connection

        return make

    class Http(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(watched(http.client.HTTPConnection), req)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(watched(http.client.HTTPSConnection), req, context=ssl.create_default_context())

    return urllib.request.build_opener(Http, Https, _Unmoved)


def _follow(url: str, watch: _Watch) -> Any:
    """The last answer of a chain of redirects."""
    opener = _opener(watch)
    for _ in range(REDIRECTS + 1):
        parts = urlsplit(url)
        scheme, host = parts.scheme.lower(), parts.hostname or ""
        watch.by_proxy = scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)
        watch.check(host)
        answer = opener.open(_request(parts), timeout=SILENCE)
        watch.local = bool(watch.local)
        if answer.status not in _MOVED:
            return answer
        with contextlib.closing(answer):
            url = _next(url, answer.headers.get("Location"))
    raise WebError(f"it redirects more than {REDIRECTS} times")


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


def _next(url: str, place: str | None) -> str:
    if not place:
        raise WebError("it redirects nowhere")
    try:
        check_url(new := urljoin(url, place.strip()))
    except ValueError:
        shown = printable(public(f"{url.partition(':')[0]}:{place}" if place.startswith("//") else place), 100)
        raise WebError(f"it redirects to {shown}, which is no address of http or https") from None
    if url[:6].lower() == "https:" and new[:6].lower() != "https:":
        raise WebError("it redirects from https to http, where anybody could change what it sends")
    return new


def _size(answer: Any) -> int | None:
    text = "" if answer.chunked else answer.headers.get("Content-Length") or ""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text.strip()) else None


def _chunks(answer: Any, watch: _Watch) -> Iterator[bytes]:
    """The content, piece by piece."""
    size, done = _size(answer), 0
    packing = (answer.headers.get("Content-Encoding") or "identity").strip().lower()
    if packing not in ("identity", "gzip", "x-gzip", "deflate"):
        raise WebError(f"it is packed with {printable(packing, 40)}, which was not asked for")
    unpack = None if packing == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 32)
    with _explained(watch):
        while chunk := answer.read1(CHUNK if size is None else min(size - done, CHUNK)):
            done += len(chunk)
            watch.received(done)
            if unpack is None:
                yield chunk
                continue
            while chunk:
                yield unpack.decompress(chunk, CHUNK)
                chunk = unpack.unconsumed_tail
        if watch.late:
            raise OSError
    if size is not None and done < size:
        raise WebError(f"the connection broke after {done} of {size} bytes")
    if unpack is not None and not unpack.eof:
        raise WebError(f"the connection broke after {done} bytes, for what it packed has no end")


@contextmanager
def _explained(watch: _Watch) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException, zlib.error, ValueError) as error:
        if watch.late:
            raise WebError("it is too slow: it was given up") from error
        if isinstance(error, urllib.error.HTTPError):  # which speaks of its number, unlike its reason
            error.close()
            raise WebError(printable(f"HTTP Error {error.code}: {error.reason}", 100)) from None
        if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
            raise WebError(f"it has sent nothing for {SILENCE:g} seconds") from error
        told = getattr(error, "reason", None) or error
        raise WebError(printable(str(told) or type(told).__name__, 200)) from error
