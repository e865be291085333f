"""A server on this machine that answers as no server should."""

import gzip
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch_utils import download

BODY = bytes(range(256)) * 40


def _answers(chance: random.Random) -> Iterator[bytes]:
    """Parts of an answer, odd in one way."""
    way = chance.choice(
        [
            "honest",
            "short",
            "long",
            "page",
            "pointer",
            "empty",
            "gzip",
            "chunked",
            "redirect",
            "status",
            "head",
            "noise",
            "size",
        ]
    )
    ok = b"HTTP/1.1 200 OK\r\n"
    if way == "honest":
        yield ok + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    elif way == "short":
        yield ok + chance.choice([b"Content-Length: 999999\r\n", b""]) + b"\r\n" + BODY[:500]
    elif way == "long":
        yield ok + b"Content-Length: 10\r\n\r\n" + BODY
    elif way == "page":
        yield ok + b"Content-Type: text/html\r\n\r\n<!DOCTYPE html><html>quota exceeded</html>"
    elif way == "pointer":
        yield ok + b"\r\nversion https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n"
    elif way == "empty":
        yield ok + b"Content-Length: 0\r\n\r\n"
    elif way == "gzip":
        yield (
            ok
            + b"Content-Encoding: gzip\r\n\r\n"
            + chance.choice([gzip.compress(BODY), b"\x1f\x8bxx", gzip.compress(bytes(2**24))])
        )
    elif way == "chunked":
        size = chance.choice([b"ffffffffffff", b"-1", b"zz", b"5"])
        yield ok + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\nabcde\r\n"
    elif way == "redirect":
        places = [
            b"/",
            b"ftp://127.0.0.1/",
            b"file:///etc/passwd",
            b"http://[",
            b"//",
            b"",
            b"http://127.0.0.1:1/",
            b"data:,x",
        ]
        yield b"HTTP/1.1 302 Found\r\nLocation: " + chance.choice(places) + b"\r\nContent-Length: 0\r\n\r\n"
    elif way == "status":
        code = chance.choice(
            [b"404 \x1b]0;x\x07", b"500 X", b"204 No", b"206 Part", b"301 X", b"999 X", b"0 X", b"abc"]
        )
        yield b"HTTP/1.1 " + code + b"\r\n\r\n" + BODY[:100]
    elif way == "head":
        yield chance.choice(
            [
                ok + b"X: " + b"a" * 70_000,
                ok + b"X: 1\r\n" * 300,
                b"\r\n",
                b"SSH-2.0-x\r\n",
                ok + b"Content-Length: x\r\n\r\nab",
            ]
        )
    elif way == "size":
        yield ok + b"Content-Length: %d\r\n\r\n" % chance.choice([2**40, 2**63, 10**30, -5]) + BODY
    else:
        for _ in range(20):
            yield chance.randbytes(50)


@contextmanager
def serving(chance: random.Random) -> Iterator[str]:
    """The address of a server that is gone when the block ends."""
    parts = list(_answers(chance))
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.2)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                continue
            with connection:
                try:
                    connection.settimeout(5)
                    connection.recv(2**16)
                    for part in parts:
                        connection.sendall(part)
                        time.sleep(0.001)
                except OSError:
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/net.bin"
    finally:
        over.set()
        thread.join()
        listener.close()


def odd_server(chance: random.Random, folder: Path) -> Path:
    """The seed of a server, kept in a file."""
    (folder / "seed").write_text(str(chance.getrandbits(32)))
    return folder


def read_server(folder: Path) -> None:
    """Fetch from the server; whatever is kept is what an honest server sends."""
    with serving(random.Random(int((folder / "seed").read_text()))) as url:
        try:
            download.fetch(url, folder / "kept" / "net.bin")
        finally:
            kept = [path for path in (folder / "kept").glob("*") if not path.name.startswith(".")]
            assert not kept or kept[0].read_bytes(), "an empty file was kept"
