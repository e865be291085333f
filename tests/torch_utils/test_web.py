"""What a URL answers: redirects, patience, packing, and what a hostile server may try."""

import gzip
import threading

import pytest

from tests.torch_utils.servers import BODY, SHA, dripping, moved, serving
from tests.torch_utils.test_download import refusal
from torch_utils import web
from torch_utils.download import fetch


def test_packed_answers_are_unpacked(server, tmp_path):
    packed = gzip.compress(BODY)
    server.answers["gz"] = lambda handler: handler.send(packed, len(packed), Content_Encoding="gzip")
    server.answers["half"] = lambda handler: handler.send(packed[:-9], Content_Encoding="gzip")
    server.answers["bad"] = lambda handler: handler.send(BODY, Content_Encoding="gzip")
    server.answers["br"] = lambda handler: handler.send(BODY, Content_Encoding="br\x1b[2J")
    assert fetch(server.url("gz"), tmp_path / "a").read_bytes() == BODY
    assert server.headers[0]["Accept-Encoding"] == "identity"
    (tmp_path / "a").unlink()
    assert "for what it packed has no end" in refusal(server.url("half"), tmp_path / "b")
    assert "(Error -3 while decompressing data" in refusal(server.url("bad"), tmp_path / "b")
    assert "it is packed with br?[2j, which was not asked for" in refusal(server.url("br"), tmp_path / "b")


def test_a_server_that_sends_more_than_it_promised_is_not_read_on(server, tmp_path):
    server.answers["more"] = lambda handler: handler.send(b"", 8, BODY)
    assert fetch(server.url("more"), tmp_path / "a").read_bytes() == BODY[:8]


def test_patience_ends(server, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "START", 0.6)
    monkeypatch.setattr(web, "SILENCE", 0.3)

    def head(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(60):
            handler.wfile.write(b"X")
            threading.Event().wait(0.1)

    def chunk(handler):
        handler.send(b"", Transfer_Encoding="chunked")
        for _ in range(60):
            handler.wfile.write(b"0")
            threading.Event().wait(0.1)

    server.answers |= {"drip": dripping(0.1), "head": head, "chunk": chunk, "silent": dripping(9)}
    for path in ("drip", "head", "chunk"):
        words = refusal(server.url(path), tmp_path / "a")
        assert words.startswith(
            f"cannot download a from {server.url(path)} (it is too slow: it was given up): fetch it"
        )
    assert "(it has sent nothing for 0.3 seconds)" in refusal(server.url("silent"), tmp_path / "a")


def test_fast_enough_is_waited_for(server, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "START", 0.5)

    def steady(handler):
        handler.send(b"")
        for _ in range(10):
            handler.wfile.write(b"x" * 2**14)
            threading.Event().wait(0.15)

    server.answers["steady"] = steady
    assert len(fetch(server.url("steady"), tmp_path / "a").read_bytes()) == 10 * 2**14


REDIRECTS = {
    "ftp://127.0.0.1/x": "it redirects to ftp://127.0.0.1/x, which is no address of http or https",
    "file:///etc/passwd": "it redirects to file:///etc/passwd, which is no address of http or https",
    "data:,x": "it redirects to data:,x, which is no address of http or https",
    "//u:secret@[": "it redirects to http://...@[, which is no address of http or https",
    "http://[": "it redirects to http://[, which is no address of http or https",
    "ftp://u:secret@h/x?secret": "it redirects to ftp://...@h/x?..., which is no address of http or https",
    "": "it redirects nowhere",
}


@pytest.mark.parametrize("place", REDIRECTS)
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_lead_to_http_alone(server, tmp_path, place, code):
    server.answers["away"] = moved(place, code)
    assert f"({REDIRECTS[place]})" in refusal(server.url("away"), tmp_path / "a")


def test_redirects_are_followed_and_end(server, tmp_path):
    server.answers |= {"first": moved("second"), "second": moved("/whole?x=a b"), "loop": moved("loop")}
    assert fetch(server.url("first"), tmp_path / "a", SHA).read_bytes() == BODY
    assert server.asked == ["/first", "/second", "/whole?x=a%20b"]
    (tmp_path / "a").unlink()
    assert "(it redirects more than 10 times)" in refusal(server.url("loop"), tmp_path / "a")


def test_a_redirect_has_no_endless_body(server, tmp_path):
    def endless(handler):
        handler.redirect("/whole")
        while True:
            handler.wfile.write(b"x" * 2**16)

    server.answers["away"] = endless
    assert fetch(server.url("away"), tmp_path / "a").read_bytes() == BODY


def test_https_does_not_lead_to_http():
    with pytest.raises(web.WebError, match=r"^it redirects from https to http, where anybody could change"):
        web._next("https://a/b", "http://a/c")
    assert web._next("https://a/b", "//c/d") == "https://c/d"
    assert web._next("HTTP://a/b", "HTTPS://c") == "HTTPS://c"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:10.0.0.1",
        "100.64.0.1",
    ],
)
def test_the_internet_does_not_lead_into_the_local_network(host):
    watch = web._Watch()
    try:
        watch.check("93.184.215.14")
        with pytest.raises(web.WebError, match=r"^it leads into the local network$"):
            watch.check(host)
        inside = web._Watch()
        inside.check(host)  # who asks for it may have it
        inside.check("127.0.0.1")
        inside.check("93.184.215.14")
        inside.end()
    finally:
        watch.end()


def test_names_are_judged_by_the_address_that_is_connected_to(server, tmp_path, monkeypatch):
    """A name may lead into the local network, and may lead elsewhere a moment later."""
    monkeypatch.setattr(web._Watch, "check", (honest := web._Watch.check) and _outside_first(honest))
    server.answers["away"] = moved(f"http://localhost:{server.server_port}/whole")
    assert "(it leads into the local network)" in refusal(server.url("away"), tmp_path / "a")
    assert server.asked == ["/away"]


def _outside_first(honest):
    """Takes the first host for one of the internet, although it is this machine."""

    def check(watch, host):
        if watch.local is None:
            watch.local = False
        elif host != "127.0.0.1" or watch.seen:
            honest(watch, host)
        watch.seen = host == "localhost"

    return check


def test_credentials_are_sent_to_their_host_and_shown_to_nobody(server, tmp_path, capsys):
    place = f"127.0.0.1:{server.server_port}"
    with serving() as other:
        server.answers["away"] = moved(other.url("whole"))
        fetch(f"HTTP://user:se%40cret@{place}/away?token=secret", tmp_path / "a")
        assert server.headers[0]["Authorization"] == "Basic dXNlcjpzZUBjcmV0"  # user:se@cret
        assert server.asked == ["/away?token=secret"] and "Authorization" not in other.headers[0]
    assert "se%40cret" not in (told := capsys.readouterr().err) and "token" not in told
    assert told.startswith(f"fetched HTTP://...@{place}/away?..., 800 KB")
    (tmp_path / "a").unlink()
    for url in (f"http://user:secret@{place}/none?secret", "http://user:secret@host.invalid/x?secret"):
        assert "secret" not in refusal(url, tmp_path / "a")


@pytest.mark.parametrize(
    "url",
    [
        *("http://[", "http://", "https://:80/x", "http://a:b/x", "http://a:99999/x", "http://a b/x", "http:///x"),
        *("http://a\x1b]0;x\x07/y", f"http://{'a' * 70}.b/x", "ftp://a/b", "http://user:secret@", "http://a\n.b/c"),
    ],
)
def test_malformed_urls_are_refused_in_a_sentence(tmp_path, url):
    words = refusal(url, tmp_path / "a")
    assert words.endswith(" is not a URL: expected one such as https://host/path/file")
    assert words.isprintable() and "secret" not in words


def test_what_a_server_says_is_harmless(server, tmp_path):
    server.answers["bad"] = lambda handler: handler.wfile.write(b"HTTP/1.1 500 \x1b]0;x\x07\r\n\r\n")
    server.answers["odd"] = lambda handler: handler.wfile.write(b"\x1b[2J\r\n\r\n")
    for path in ("bad", "odd"):
        assert refusal(server.url(path), tmp_path / "a").isprintable()
