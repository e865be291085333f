"""Who may talk to the server: pages of its own alone, which know the token.

A server on 127.0.0.1 is reached by every page that is open in the browser, and by every user of the machine. So the
Host must be one of ours (a page of a name that leads to 127.0.0.1 has another), the Origin of messages must be the
page's own, and the token must be known.
"""

import hmac
import ipaddress
import re
import socket
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})")
_ORIGINS = ("none", "same-origin")  # of Sec-Fetch-Site


@dataclass(frozen=True)
class Guard:
    """An ASGI application that refuses strangers with 403, and adds the headers of safety to every answer.

    Args:
        app: the application behind it.
        port: of the server.
        token: the path of the first address, then in a cookie.
        listening: whether other machines may come. They come by an address or by this machine's name.
    """

    app: ASGIApp
    port: int
    token: str
    listening: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers, first = Headers(scope=scope), hmac.compare_digest(scope["path"].encode(), f"/{self.token}".encode())
        if first:
            scope = {**scope, "path": "/", "raw_path": b"/"}
        if reason := self.refusal(scope, headers, first):
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": reason[:100]})
            else:
                await PlainTextResponse(f"{reason}\n", 403, HEADERS)(scope, receive, send)
            return

        async def safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    added.setdefault(name, value)
                if scope["path"] == "/":
                    added.append("Set-Cookie", f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        await self.app(scope, receive, safely)

    @property
    def cookie(self) -> str:
        """Name of the cookie; cookies are shared by all ports of a machine."""
        return f"explorer-{self.port}"

    def refusal(self, scope: Scope, headers: Headers, first: bool) -> str:
        """Why a request is refused, or ""; `first` is True if its path is the token."""
        host, sends = headers.get("host", ""), scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if len(headers.getlist("host")) != 1 or not self._is_ours(host):
            return "this server answers to its own address alone"
        if sends and headers.getlist("origin") != [f"http://{host}"]:
            return "only the page of this server may do so"
        page = scope["path"] == "/" and not sends and headers.get("sec-fetch-mode", "navigate") == "navigate"
        if headers.get("sec-fetch-site", "none") not in _ORIGINS and not page:
            return "another website asked for it"
        if not first and not self._knows(headers):
            return "open the address that explore.py has printed, with its token"
        return ""

    def _is_ours(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None or int(found[2]) != self.port:
            return False
        name = found[1].lower()
        if name in ("localhost", "127.0.0.1", "[::1]"):
            return True
        if not self.listening:
            return False
        try:
            return bool(ipaddress.ip_address(name.strip("[]")))  # a number cannot be made to lead elsewhere
        except ValueError:
            return name in (socket.gethostname().lower(), f"{socket.gethostname().lower()}.local")

    def _knows(self, headers: Headers) -> bool:
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            cookies = SimpleCookie()
        given = cookies[self.cookie].value if self.cookie in cookies else ""
        return hmac.compare_digest(given.encode(), self.token.encode())
