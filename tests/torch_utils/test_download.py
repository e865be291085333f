import threading
from pathlib import Path

import pytest

from tests.torch_utils.servers import BODY, SHA, dripping, plain
from torch_utils.download import fetch, kept, sha256


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
    threads = [threading.Thread(target=fetch, args=(server.url("whole"), path, SHA)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() == BODY and server.asked == ["/whole"]


@pytest.mark.parametrize("digest", ["12345678", "0" * 64])
def test_a_file_with_another_digest_is_not_kept(server, tmp_path, digest):
    path, url = tmp_path / "weights.pth", server.url("whole")
    with pytest.raises(ValueError) as error:
        fetch(url, path, digest, "or give --detector inception=PATH")
    assert str(error.value) == (
        f"the file from {url} is not weights.pth: its digest begins with {SHA[:8]}, not {digest[:8]}; "
        f"download it by other means to {path}, or give --detector inception=PATH"
    )
    assert _left(tmp_path) == []


def test_a_broken_connection_leaves_nothing_and_the_next_try_succeeds(server, tmp_path):
    path, url = tmp_path / "weights.pth", server.url("broken")
    with pytest.raises(
        ValueError, match=rf"^cannot download weights.pth from {url} \(.*\): download it by other means"
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
    assert words.endswith(f"): download it by other means to {path}, or give --detector inception=PATH")
    assert "\n" not in words and _left(tmp_path) == []


def refusal(url: str, path: Path, *args, **more) -> str:
    """The sentence with which it is refused. Nothing is kept."""
    with pytest.raises(ValueError) as error:
        fetch(url, path, *args, **more)
    assert _left(path.parent) == [] if path.parent.exists() else True
    assert "\n" not in str(error.value)
    return str(error.value)


PAGE = b"<!DOCTYPE html>\n<html><body>log in</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
MISTAKEN = {
    "page": (PAGE, "a web page"),
    "xml": (b"<?xml version='1.0'?>\n<html>", "a web page"),
    "lfs": (POINTER, "a pointer of Git LFS, not the file itself (git lfs pull fetches it)"),
    "empty": (b"", "an empty file"),
    "json": (b'{"error": "no such file"}', "an error message of a server"),
}


@pytest.mark.parametrize("path", MISTAKEN)
def test_what_is_no_file_is_called_what_it_is(server, tmp_path, path):
    body, what = MISTAKEN[path]
    server.answers[path] = plain(body)
    words = refusal(server.url(path), tmp_path / "a.pkl")
    assert words == f"the file from {server.url(path)} is {what}; download it by other means to {tmp_path / 'a.pkl'}"


def is_weights(path: Path) -> None:
    if not path.read_bytes().endswith(BODY[-8:]) or len(path.read_bytes()) != len(BODY):
        raise ValueError(f"{path} is cut short")


def test_half_a_file_of_unknown_size_is_not_kept_and_the_next_try_succeeds(server, tmp_path):
    """A server that closes half-way without Content-Length looks like one that has sent everything."""
    path, url = tmp_path / "a.pkl", server.url("half")
    server.answers["half"] = plain(BODY[:100])
    assert refusal(url, path, check=is_weights) == (
        f"the file from {url} cannot be used (it is cut short); download it by other means to {path}"
    )
    server.answers["half"] = plain(BODY)
    assert fetch(url, path, check=is_weights).read_bytes() == BODY
    assert fetch(url, path, check=is_weights) == path and len(server.asked) == 2


@pytest.mark.parametrize("fault", [PAGE, POINTER, b"", BODY[:50]], ids=["page", "pointer", "empty", "half"])
@pytest.mark.parametrize("digest", ["", SHA])
def test_what_was_kept_is_looked_at_and_fetched_anew(server, tmp_path, capsys, fault, digest):
    path, url = tmp_path / "a.pkl", server.url("whole")
    path.write_bytes(fault)
    assert fetch(url, path, digest, check=is_weights).read_bytes() == BODY
    told = capsys.readouterr().err
    assert told.startswith((f"the cached file of {url} is", f"the cached file of {url} cannot be used ("))
    assert "downloading it again\n" in told


def test_what_was_kept_stays_until_there_is_better(server, tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(PAGE)
    with pytest.raises(ValueError) as error:
        fetch(server.url("none"), path)
    assert str(error.value).startswith("cannot download a.pkl from ")
    assert path.read_bytes() == PAGE


def test_the_digest_is_checked_at_every_use(server, tmp_path):
    path, url = tmp_path / "a.pkl", server.url("whole")
    assert fetch(f"{url}#sha256={SHA.upper()}", path) == fetch(url, path, SHA) == path and len(server.asked) == 1
    path.write_bytes(BODY[:-1] + b"!")
    assert fetch(f"{url}#sha256={SHA}", path).read_bytes() == BODY and len(server.asked) == 2
    path.unlink()
    assert f"its digest begins with {SHA[:8]}, not 00000000" in refusal(f"{url}#sha256={'0' * 64}", path)
    assert "must be followed by the 64 hexadecimal digits" in refusal(f"{url}#sha256=12", path)


def test_an_unchecked_file_can_be_pinned(server, tmp_path, capsys):
    url = server.url("whole")
    fetch(url, tmp_path / "a")
    assert capsys.readouterr().err == (
        f"fetched {url}, 0.8 MB, SHA-256 {SHA}. Its digest is not known; {url}#sha256={SHA} is checked at each use\n"
    )
    fetch(url, tmp_path / "a")
    fetch(url, tmp_path / "b", SHA)
    assert capsys.readouterr().err == ""


def test_no_file_is_larger_than_its_kind(server, tmp_path, monkeypatch):
    told = "it is larger than 1 MB, the limit for such a file"
    server.answers["endless"] = dripping(0, b"x" * 2**16)
    server.answers["huge"] = lambda handler: handler.send(b"x", 2_000_000)
    for path in ("endless", "huge"):
        assert told in refusal(server.url(path), tmp_path / "a", largest=1_000_000)


def test_each_url_has_a_path_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    urls = ["https://a/net.pt", "https://b/net.pt", "https://a/net.pt?x=/..", "https://a/net.pt/", "https://a/CON"]
    paths = [kept(url, "detectors") for url in urls]
    assert len(set(paths)) == 5 and {path.parent for path in paths} == {tmp_path / "stylegan2" / "detectors"}
    assert kept("https://a/net.pt#sha256=" + SHA, "detectors") == paths[0]
    assert paths[0].name.endswith("-net.pt") and kept("http://[", "networks").name.endswith("-_")
