import contextlib
import functools
import http.server
import os
import shutil
import threading
from types import SimpleNamespace

import fsspec
import pytest

from imaging.dataset import DataConfig, open_dataset
from imaging.headers import shard_cache
from imaging.shards import store
from imaging.shards.index import find_shards
from imaging.shards.store import Store
from tests.imaging.shards.tars import write_shards
from tests.imaging.test_loader import first, same


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def served(tmp_path, request):
    """(folder, its address)."""
    handler = getattr(request, "param", Quiet)
    pytest.importorskip("aiohttp")
    folder = tmp_path / "served"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def memory(monkeypatch):
    monkeypatch.setitem(store.PACKAGES, "memory", "nothing")
    fs = fsspec.filesystem("memory")
    yield fs
    fs.rm("/", recursive=True)


def opened(path, **options):
    return open_dataset(DataConfig(path=str(path), **options))


def copies():
    return sorted(shard_cache().glob("*.tar"))


def put(fs, folder, pattern):
    for shard in find_shards(pattern):
        fs.pipe_file(f"/{folder}/{shard.name}", open(shard.url, "rb").read())  # noqa: SIM115, PTH123


@pytest.mark.parametrize("workers", [0, 2])
def test_shards_behind_http(served, workers):
    folder, address = served
    write_shards(folder, [3, 4, 5])
    here, there = opened(folder / "x-*.tar"), opened(f"{address}/x-{{0000..0002}}.tar")
    assert there.fingerprint == here.fingerprint and there.name == "x"
    assert same(first(6, there, 4, 0, workers=workers), first(6, here, 4, 0))
    assert len(copies()) == 3


def test_missing_ones_on_a_server(served):
    folder, address = served
    write_shards(folder, [2])
    with pytest.raises(ValueError, match=r"x-0001\.tar does not exist \(1 of 2 shards are missing\): restore it"):
        opened(f"{address}/x-{{0000..0001}}.tar")
    with pytest.raises(FileNotFoundError, match=r"y\.tar does not exist"):
        opened(f"{address}/y.tar")
    dataset = opened(f"{address}/x-0000.tar")
    shutil.rmtree(shard_cache())
    (folder / "x-0000.tar").unlink()
    with pytest.raises(ValueError) as error:
        dataset[0]
    assert str(error.value) == f"{address}/x-0000.tar is no longer there: restore it"


class Refusing(Quiet):
    def do_GET(self):
        self.send_error(403)

    do_HEAD = do_GET  # noqa: N815


@pytest.mark.parametrize("served", [Refusing], indirect=True)
def test_a_server_that_refuses(served):
    with pytest.raises(ValueError, match=r"x\.tar cannot be read \(403, .*Forbidden.*\): check the address"):
        opened(f"{served[1]}/x.tar")


def test_a_fetch_is_tried_again(memory, tmp_path, monkeypatch):
    put(memory, "set", write_shards(tmp_path / "set", [3]))
    (shard,) = find_shards("memory://set/x-0000.tar")
    honest, calls = type(memory).get_file, []

    def flaky(self, path, dest, **options):
        calls.append(path)
        if len(calls) == 1:
            raise ConnectionResetError("reset by peer")
        honest(self, path, dest, **options)
        if len(calls) == 2:
            os.truncate(dest, 100)

    monkeypatch.setattr(type(memory), "get_file", flaky)
    copied = Store([shard], 1)
    assert copied.path(shard).read_bytes() == (tmp_path / "set" / "x-0000.tar").read_bytes() and len(calls) == 3
    assert copied.path(shard) == copies()[0] and len(calls) == 3
    calls.clear()
    shutil.rmtree(shard_cache())
    monkeypatch.setattr("imaging.shards.store.PAUSES", (0.0,))
    with pytest.raises(ValueError) as error:
        copied.path(shard)
    assert str(error.value) == (
        f"{shard.url} came with 100 of its {shard.bytes} bytes: check the connection, and whether the shard is being "
        f"changed"
    )
    assert {path.suffix for path in shard_cache().iterdir()} == {".lock"}, "nothing half is left"


def test_the_cache_is_bounded_and_keeps_what_was_used_last(memory, tmp_path, monkeypatch):
    put(memory, "set", write_shards(tmp_path / "set", [2] * 6))
    shards = find_shards("memory://set/x-*.tar")
    size = shards[0].bytes
    monkeypatch.setenv("SHARD_CACHE_GB", str(3.5 * size / 1e9))
    bounded = Store(shards, 3)
    clock = [0]

    def tick(path):
        clock[0] += 1
        honest(path, (clock[0], clock[0]))

    honest = os.utime
    monkeypatch.setattr("os.utime", tick)
    paths = []
    for number in (0, 1, 0, 2, 0, 3, 0, 4, 5):
        paths.append(bounded.path(shards[number]))
        bounded.path(shards[number])
        assert sum(path.stat().st_size for path in copies()) <= 3.5 * size
    assert sorted(copies()) == sorted([paths[0], *paths[-2:]]), "the first was used again and again"


def test_a_cache_too_small_for_the_shuffle(memory, tmp_path, monkeypatch):
    put(memory, "set", write_shards(tmp_path / "set", [2] * 3))
    monkeypatch.setenv("SHARD_CACHE_GB", "0.00001")
    with pytest.raises(ValueError) as error:
        opened("memory://set/x-*.tar")
    assert str(error.value) == (
        "the cache may take 1e-05 GB, but the 3 shards read at a time take 3.07e-05 GB: "
        "set SHARD_CACHE_GB=3.7e-05 or more"
    )
    for wrong in ("much", "0", "-1", "nan", "inf"):
        monkeypatch.setenv("SHARD_CACHE_GB", wrong)
        with pytest.raises(ValueError, match=f"SHARD_CACHE_GB is '{wrong}': set it to the gigabytes"):
            opened("memory://set/x-*.tar")
    assert len(opened(tmp_path / "set" / "x-*.tar")) == 6, "shards that lie here need no cache"


def test_the_shuffle_asks_for_the_shards_that_come_next(memory, tmp_path, monkeypatch):
    monkeypatch.setattr("imaging.imageset.WINDOW", 2)
    put(memory, "set", write_shards(tmp_path / "set", [6] * 5))
    dataset = opened("memory://set/x-*.tar")
    asked = []
    monkeypatch.setattr(dataset._store, "expect", lambda shards: asked.append([shard.name for shard in shards]))
    used = [int(dataset.index_at(0, p)) // 6 for p in range(60)]
    assert len(asked) == 10, "once a window, two epochs of five"
    names = [f"x-{i:04d}.tar" for i in range(5)]
    places = [dataset._order.at(p) for p in range(60)]
    for shard, place in zip(used, places, strict=True):
        number = place.epoch * 5 + place.window
        assert names[shard] in asked[number][:2], "what a window needs is asked for when it begins"
        assert number == 0 or names[shard] in asked[number - 1], "and was so one window before"


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("SHARD_CACHE", str(tmp_path / "file"))
    pattern = write_shards(tmp_path / "set", [3])
    dataset = opened(pattern)
    assert len(dataset) == 3
    assert dataset.notes == ()


def test_a_shard_that_changes_on_its_server(served):
    folder, address = served
    write_shards(folder, [3, 3])
    url = f"{address}/x-{{0000..0001}}.tar"
    before = opened(url).fingerprint
    write_shards(folder, [3, 3], classes=2)
    os.utime(folder / "x-0001.tar", (10**9, 10**9))
    assert opened(url).fingerprint != before


class Growing(Quiet):
    """Announces a small file, and sends one that does not end."""

    sent = 0
    announces = False  # whether GET says how much comes

    def do_GET(self):
        self.send_response(200)
        if self.announces:
            self.send_header("Content-Length", str(2**31))
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(2**31 // 2**16):
                self.wfile.write(bytes(2**16))
                type(self).sent += 2**16


class GrowingAnnounced(Growing):
    sent = 0
    announces = True


@pytest.mark.parametrize("served", [Growing, GrowingAnnounced], indirect=True)
def test_a_server_that_sends_more_than_it_announced_is_stopped(served, request):
    folder, address = served
    write_shards(folder, [3])
    url = f"{address}/x-0000.tar"
    with pytest.raises(ValueError) as error:
        opened(url)
    size = (folder / "x-0000.tar").stat().st_size
    assert str(error.value) == (
        f"{url} sends more than the {size} bytes announced: check the server, and whether the file is being changed"
    )
    assert sum(path.stat().st_size for path in shard_cache().rglob("*")) < 2**20, "nothing of it is kept"
    handler = request.node.callspec.params["served"]
    assert handler.sent < 2**26, "three tries, a few megabytes each"


@pytest.mark.parametrize("length", ["-5", str(2**70), "much", None])
def test_sizes_that_cannot_be(served, length, monkeypatch):
    def send_header(self, name, value):
        if name != "Content-Length" or length is not None:
            honest(self, name, length if name == "Content-Length" else value)

    honest = http.server.SimpleHTTPRequestHandler.send_header
    monkeypatch.setattr(Quiet, "send_header", send_header)
    folder, address = served
    write_shards(folder, [3])
    with pytest.raises(ValueError) as error:
        opened(f"{address}/x-0000.tar")
    assert str(error.value).startswith((f"the server of {address}/x-0000.tar does not", f"{address}/x-0000.tar cannot"))


def test_a_disk_without_room_is_told_before_anything_is_fetched(memory, tmp_path, monkeypatch):
    put(memory, "set", write_shards(tmp_path / "set", [3]))
    (shard,) = find_shards("memory://set/x-0000.tar")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=100))
    monkeypatch.setattr(type(memory), "get_file", None)
    with pytest.raises(ValueError) as error:
        Store([shard], 1).path(shard)
    assert str(error.value) == (
        f"{shard.url} has {shard.bytes} bytes, but the disk of {shard_cache()} has 100 left: make room, or name "
        f"another folder with SHARD_CACHE"
    )
