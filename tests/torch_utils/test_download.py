import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from torch_utils.download import cache_folder, fetch, sha256

BODY = b"weights " * 100_000
SHA, MD5 = hashlib.sha256(BODY).hexdigest(), hashlib.md5(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Sends BODY at /whole, half of what it promises at /broken, and nothing else; counts what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path not in ("/whole", "/broken"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY if self.path == "/whole" else BODY[: len(BODY) // 2])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_downloads_once(server, tmp_path):
    path = tmp_path / "new" / "weights.pth"
    for _ in range(2):
        assert fetch(server.url("whole"), path, SHA[:8]) == path
    assert path.read_bytes() == BODY and server.asked == ["/whole"]
    assert _left(path.parent) == ["weights.pth"]
    assert sha256(path) == SHA


def test_many_at_once_download_once(server, tmp_path):
    path = tmp_path / "weights.pth"
    threads = [threading.Thread(target=fetch, args=(server.url("whole"), path, MD5)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() == BODY and server.asked == ["/whole"]


@pytest.mark.parametrize("digest", ["12345678", "0" * 64, "0" * 32])
def test_a_file_with_another_digest_is_not_kept(server, tmp_path, digest):
    path, url = tmp_path / "weights.pth", server.url("whole")
    found = (MD5 if len(digest) == 32 else SHA)[:8]
    with pytest.raises(ValueError) as error:
        fetch(url, path, digest, "or give --detector inception=PATH")
    assert str(error.value) == (
        f"what {url} sends is not weights.pth: its digest begins with {found}, not {digest[:8]}; "
        f"fetch it elsewhere and put it at {path}, or give --detector inception=PATH"
    )
    assert _left(tmp_path) == []


def test_a_broken_connection_leaves_nothing_and_the_next_try_succeeds(server, tmp_path):
    path, url = tmp_path / "weights.pth", server.url("broken")
    with pytest.raises(
        ValueError, match=rf"^cannot download weights.pth from {url} \(.*\): fetch it elsewhere and put"
    ):
        fetch(url, path, SHA)
    assert _left(tmp_path) == []
    assert fetch(server.url("whole"), path, SHA).read_bytes() == BODY


def test_offline_the_sentence_names_file_url_and_place(server, tmp_path):
    path, url = tmp_path / "weights.pth", server.url("whole")
    server.shutdown()
    server.server_close()
    with pytest.raises(ValueError) as error:
        fetch(url, path, SHA, "or give --detector inception=PATH")
    words = str(error.value)
    assert words.startswith(f"cannot download weights.pth from {url} (")
    assert words.endswith(f"): fetch it elsewhere and put it at {path}, or give --detector inception=PATH")
    assert "\n" not in words and _left(tmp_path) == []


def test_says_when_there_is_no_such_file(server, tmp_path):
    with pytest.raises(ValueError, match=r"^cannot download weights.pth from .*/none \(.*404.*\): "):
        fetch(server.url("none"), tmp_path / "weights.pth")


def test_a_disk_that_cannot_be_written_is_no_fault_of_the_net(server, tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    class Full:
        __enter__, write = lambda self: self, full

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(Path, "open", lambda self, mode="r": Full())
    with pytest.raises(OSError, match="No space left on device"):
        fetch(server.url("whole"), tmp_path / "weights.pth")


def test_the_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "stylegan2"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "stylegan2"
