"""What a URL answers: redirects, patience, packing, and what a hostile server may try."""

import io
import urllib.request
import urllib.response

import pytest

from tests.torch_utils.servers import BODY, SHA, dripping, moved, serving
from tests.torch_utils.test_download import refusal
from torch_utils import download
from torch_utils.download import fetch


def test_compressed_answers_are_refused(server, tmp_path):
    server.answers["br"] = lambda handler: handler.send(BODY, Content_Encoding="br\x1b[2J")
    assert "it is compressed with br?[2j, which was not requested" in refusal(server.url("br"), tmp_path / "b")
    assert server.headers[0]["Accept-Encoding"] == "identity"


def test_a_server_that_sends_more_than_it_promised_is_not_read_on(server, tmp_path):
    server.answers["more"] = lambda handler: handler.send(b"", 8, BODY)
    assert fetch(server.url("more"), tmp_path / "a").read_bytes() == BODY[:8]


def test_slow_servers_are_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "START", 0.3)
    monkeypatch.setattr(download, "SILENCE", 0.3)
    server.answers |= {"drip": dripping(0.1), "silent": dripping(9)}
    assert "(it is too slow): " in refusal(server.url("drip"), tmp_path / "a")
    assert "(it has sent nothing for 0.3 seconds)" in refusal(server.url("silent"), tmp_path / "a")


REDIRECTS = {
    "ftp://127.0.0.1/x": "it redirects to ftp://127.0.0.1/x, which is not http or https",
    "file:///etc/passwd": "Redirection to url 'file:///etc/passwd' is not allowed",
    "data:,x": "Redirection to url 'data:,x' is not allowed",
    "http://[": "Invalid IPv6 URL",
    "ftp://u:secret@h/x?secret": "it redirects to ftp://...@h/x?..., which is not http or https",
    "gopher://u:secret@h/x?secret": "Redirection to url 'gopher://...@h/x?...' is not allowed",
}


@pytest.mark.parametrize("place", REDIRECTS)
@pytest.mark.parametrize("code", [301, 308])
def test_redirects_lead_to_http_alone(server, tmp_path, place, code):
    server.answers["away"] = moved(place, code)
    words = refusal(server.url("away"), tmp_path / "a")
    assert REDIRECTS[place] in words and "secret" not in words


def test_redirects_are_followed_and_end(server, tmp_path):
    server.answers |= {"first": moved("second"), "second": moved("/whole?x=a b"), "loop": moved("loop")}
    assert fetch(server.url("first"), tmp_path / "a", SHA).read_bytes() == BODY
    assert server.asked == ["/first", "/second", "/whole?x=a%20b"]
    (tmp_path / "a").unlink()
    assert "infinite loop" in refusal(server.url("loop"), tmp_path / "a")


def test_a_redirect_has_no_endless_body(server, tmp_path):
    def endless(handler):
        handler.redirect("/whole")
        while True:
            handler.wfile.write(b"x" * 2**16)

    server.answers["away"] = endless
    assert fetch(server.url("away"), tmp_path / "a").read_bytes() == BODY


def test_redirects_to_less_safe_places_are_refused():
    def redirected(place, to):
        request, answer = urllib.request.Request(place), urllib.response.addinfourl(io.BytesIO(), {}, "")
        return download._Redirects().redirect_request(request, answer, 302, "", {}, to).full_url

    assert redirected("https://1.1.1.1/b", "https://8.8.8.8/d") == "https://8.8.8.8/d"
    with pytest.raises(download.WebError, match=r"^it redirects from https to http, where anybody could change"):
        redirected("https://1.1.1.1/b", "http://1.1.1.1/c")
    for host in ("127.0.0.1", "localhost", "10.1.2.3", "169.254.169.254", "[::1]", "[fd00::1]", "[::ffff:10.0.0.1]"):
        with pytest.raises(download.WebError, match=r"^it leads into the local network$"):
            redirected("https://1.1.1.1/b", f"https://{host}/c")
        assert redirected("https://127.0.0.1/b", f"https://{host}/c")  # a user may ask for it


def test_credentials_are_sent_to_their_host_and_shown_to_nobody(server, tmp_path, capsys):
    place = f"127.0.0.1:{server.server_port}"
    with serving() as other:
        server.answers["away"] = moved(other.url("whole"))
        fetch(f"HTTP://user:se%40cret@{place}/away?token=secret", tmp_path / "a")
        assert server.headers[0]["Authorization"] == "Basic dXNlcjpzZUBjcmV0"  # user:se@cret
        assert server.asked == ["/away?token=secret"] and "Authorization" not in other.headers[0]
    assert "se%40cret" not in (told := capsys.readouterr().err) and "token" not in told
    assert told.startswith(f"fetched HTTP://...@{place}/away?..., 0.8 MB")
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
