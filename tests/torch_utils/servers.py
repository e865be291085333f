"""A server on this machine that answers as it is told, also as no server should."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY = b"weights " * 100_000
SHA = hashlib.sha256(BODY).hexdigest()

Answer = Callable[["Handler"], None]


class Server(ThreadingHTTPServer):
    """Sends BODY at /whole, half of what it promises at /broken, and at other paths what `answers` has; counts all."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.answers: dict[str, Answer] = {}

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def handle_error(self, request, client_address) -> None:
        pass  # a client that hangs up is meant to


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.headers.append(dict(self.headers))
        path = self.path.partition("?")[0].strip("/")
        if path in self.server.answers:
            self.server.answers[path](self)
        elif path in ("whole", "broken"):
            self.send(BODY, len(BODY), BODY if path == "whole" else BODY[: len(BODY) // 2])
        else:
            self.send_error(404)

    def send(self, body: bytes, size: int | None = None, sent: bytes | None = None, **headers: str) -> None:
        """Sends `sent`, or the body, and says that it has `size` bytes, unless that is None."""
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if size is not None:
            self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(body if sent is None else sent)

    def redirect(self, place: str, code: int = 302) -> None:
        self.send_response(code)
        self.send_header("Location", place)
        self.end_headers()

    def log_message(self, *args) -> None:
        pass


def plain(body: bytes) -> Answer:
    """An answer of this body, whose size is not told."""
    return lambda handler: handler.send(body)


def moved(place: str, code: int = 302) -> Answer:
    """An answer that points elsewhere."""
    return lambda handler: handler.redirect(place, code)


def dripping(pause: float, piece: bytes = b"x") -> Answer:
    """A body without end, a piece at a time."""

    def answer(handler: Handler) -> None:
        handler.send(b"")
        while True:
            handler.wfile.write(piece)
            if pause:
                time.sleep(pause)

    return answer


@contextmanager
def serving() -> Iterator[Server]:
    """A server for as long as the block runs."""
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
