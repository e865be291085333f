"""URLs are told from paths, and shown without their secrets."""

import pytest

from system.text import is_cut, is_url, pinned, public, public_command, public_values, without_secrets


@pytest.mark.parametrize("text", ["https://a/b", "HTTP://a", "hTTps://a?b"])
def test_schemes_are_known_in_any_case(text):
    assert is_url(text)


@pytest.mark.parametrize("text", ["a.pkl", "", "ftp://a", "hf://user/name", "httpx://a", "/http://a", "http:/a"])
def test_other_places_are_no_urls(text):
    assert not is_url(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host/a.pkl", "https://host/a.pkl"),
        ("https://user:secret@host/a.pkl", "https://...@host/a.pkl"),
        ("HTTP://user@host:80/a", "HTTP://...@host:80/a"),
        ("https://user:s@cret@host/a", "https://...@host/a"),
        ("https://user:sec/ret@host/a.pkl", "https://...@host/a.pkl"),
        ("https://host/a.pkl?X-Amz-Signature=secret&b=c", "https://host/a.pkl?..."),
        ("https://host/a.pkl?signature=sec ret", "https://host/a.pkl?..."),
        ("https://host/a#token=secret", "https://host/a#..."),
        ("https://host/a?b=secret#sha256=0aF", "https://host/a?...#sha256=0aF"),
        ("https://host/a#sha256=0a&token=secret", "https://host/a#..."),
        ("inception=https://user:secret@host/a.pt?b=secret", "inception=https://...@host/a.pt?..."),
        ("--network=https://host/a?secret", "--network=https://host/a?..."),
        ("https://u:secret@a/x.npz?secret,https://u:secret@b/y.npz", "https://...@a/x.npz?...,https://...@b/y.npz"),
        ("s3://key:secret@bucket/x-{00..09}.tar", "s3://...@bucket/x-{00..09}.tar"),
        ("simplecache::https://key:secret@a/b", "simplecache::https://...@a/b"),
        ("https://[::1]:80/@user/a", "https://[::1]:80/@user/a"),
        ("hf://user/name@v1/a.pkl", "hf://user/name@v1/a.pkl"),
        ("http://user:secret@", "http://...@"),
        ("http://[", "http://["),
        ("http:/user:secret@host/x.zip?secret", "http:/...@host/x.zip?..."),  # as a Path spells it
        ("S3:/key:secret@bucket/x", "S3:/...@bucket/x"),
        ("C:/people/a@b/what?.png", "C:/people/a@b/what?.png"),
        ("day1:/x/y.png", "day1:/x/y.png"),
        ("what?.png", "what?.png"),
        ("a@b,c#d?e", "a@b,c#d?e"),
    ],
)
def test_secrets_of_urls_are_not_shown(text, shown):
    assert public(text) == shown
    assert public(shown) == shown
    assert is_cut(shown) == (shown != text)


def test_running_text_loses_the_secrets_of_urls_that_were_paths():
    assert without_secrets("no http:/u:secret@h/x: check it") == "no http:/...@h/x: check it"


def test_a_recorded_command_can_be_pasted_and_has_no_secrets():
    recorded = public_command("generate.py", ["--network", "https://u:secret@h/a b.pkl?secret", "--seeds=0-3"])
    assert recorded == "python generate.py --network 'https://...@h/a b.pkl?...' --seeds=0-3"


def test_nested_values_lose_their_secrets_too():
    values = {"data": {"path": "http://u:p@h/x", "n": 3}, "files": ["a", ("http://h/y?z",)], "none": None}
    assert public_values(values) == {
        "data": {"path": "http://...@h/x", "n": 3},
        "files": ["a", ["http://h/y?..."]],
        "none": None,
    }


def test_a_url_may_be_pinned_to_a_digest():
    assert pinned("https://h/a?b") == ("https://h/a?b", "")
    assert pinned("https://h/a?b#sha256=" + "0A" * 32) == ("https://h/a?b", "0a" * 32)
    with pytest.raises(ValueError) as error:
        pinned("https://u:secret@h/a#sha256=12")
    assert str(error.value) == (
        "https://...@h/a#sha256=12: #sha256= must be followed by the 64 hexadecimal digits of a SHA-256"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot read https://u:p@h/x?sig=a%20b, or (http://h/y?b): see 'https://h/z?a'.", None),
        ("no URL: a@b?c", "no URL: a@b?c"),
        ("see https://h/docs.", "see https://h/docs."),
        ("https://u:p@h/a\nhttps://u:p@h/b", "https://...@h/a\nhttps://...@h/b"),
    ],
)
def test_running_text_keeps_its_punctuation(text, shown):
    words = "cannot read https://...@h/x?..., or (http://h/y?...): see 'https://h/z?...'."
    assert without_secrets(text) == (shown or words)
    assert without_secrets(without_secrets(text)) == without_secrets(text)
