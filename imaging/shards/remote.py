"""Shards on servers, through fsspec: which URLs are taken, what their server says of a file, and fetching it.

A server is a stranger: it is asked over few protocols, each of which speaks to the host that the URL names, and what
it sends is cut off where it is more than was announced.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.callbacks import Callback

from system.text import printable
from system.urls import public

PACKAGES = {  # the protocols that are taken, and what fsspec wants installed for each
    "https": "aiohttp",
    "http": "aiohttp",
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "hf": "huggingface_hub",
}
WEB = ("http", "https")  # in whose addresses :: means nothing
MARKS = ("ETag", "etag", "Last-Modified", "LastModified", "last_modified", "last_commit", "mtime", "updated", "created")
LARGEST = 2**50  # bytes that a file may have


def is_remote(url: str) -> bool:
    """Whether `url` is a URL, and not a path of this machine."""
    return "://" in url


def on_this_machine(url: str) -> str:
    """`url` without `file://`, in front of a path of this machine; any other URL with its protocol in small letters."""
    kind, mark, rest = url.partition("://")
    if not mark:
        return url
    return rest if kind.lower() == "file" else f"{kind.lower()}://{rest}"


def check_protocol(url: str) -> None:
    """ValueError when the protocol of a URL is none of `PACKAGES`; a chain such as `simplecache::s3://...` is none."""
    kind = url.partition("://")[0]
    if kind not in PACKAGES or ("::" in url and kind not in WEB):
        raise ValueError(
            f"{shown(url)} cannot be opened: shards are read from this machine or by https://, http://, s3://, gs:// "
            f"and hf://, without a chain of protocols (::); correct the address, or copy the shards to this machine"
        )


def filesystem(url: str) -> tuple[Any, str]:
    """What fsspec opens a URL with, and the path therein. ValueError as `check_protocol`, or for a missing package."""
    check_protocol(url)
    kind = url.partition("://")[0]
    try:
        return (fsspec.filesystem(kind), url) if kind in WEB else fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = PACKAGES[kind]
        raise ValueError(f"{shown(url)} needs a package that is not installed: pip install {package}") from error
    except Exception as error:  # protocols check their arguments as they please
        raise ValueError(f"{shown(url)} cannot be opened ({reason(error)}): correct the address") from error


def matches(url: str) -> list[str]:
    """The URLs that one with wildcards stands for, sorted. ValueError when the server does not list its files."""
    fs, path = filesystem(url)
    with reaching(url):
        return sorted(on_this_machine(fs.unstrip_protocol(found)) for found in fs.glob(path))


def facts(url: str) -> tuple[int, str] | None:
    """Bytes of a file, and a mark that changes when the file does; None when there is no such file.

    ValueError when the server cannot be asked or does not tell.
    """
    fs, path = filesystem(url)
    try:
        with reaching(url):
            told = fs.info(path)
    except FileNotFoundError:
        return None
    size = told.get("size")
    if type(size) is not int or not 0 <= size <= LARGEST:
        raise ValueError(f"the server of {shown(url)} does not tell its size: copy the shards to this machine")
    return size, next((str(told[mark]) for mark in MARKS if told.get(mark)), "")


def fetch(url: str, to: Path, most: int) -> None:
    """Copy a file to `to`. ValueError as soon as more than `most` bytes come, or when the server cannot be reached."""
    fs, path = filesystem(url)
    with reaching(url):
        fs.get_file(path, str(to), callback=_Limit(url, most))


class _Limit(Callback):
    """Is told by fsspec how many bytes came, after each piece, and stops the copying when there are too many."""

    def __init__(self, url: str, most: int) -> None:
        super().__init__()
        self.url, self.most = url, most

    def call(self, hook_name: str | None = None, **kwargs: Any) -> None:
        if max(self.value, self.size or 0) > self.most:
            raise ValueError(
                f"{shown(self.url)} sends more than the {self.most} bytes that were announced: check the server, and "
                f"whether the file is being changed"
            )


def shown(url: str) -> str:
    """A URL or path as messages name it: in one line, and without a password."""
    return printable(public(url))


def reason(error: BaseException) -> str:
    """What went wrong, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return printable(public(" ".join(str(text).split())), 200)


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Makes one sentence of whatever a server, or the library that speaks to it, raises; FileNotFoundError stays."""
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        cause: BaseException = error
        if isinstance(error, FileNotFoundError):
            if error.__cause__ is None or not _is_failure(error.__cause__):
                raise
            cause = error.__cause__
        raise ValueError(
            f"{shown(url)} cannot be read ({reason(cause)}): check the address and the connection"
        ) from error


def _is_failure(cause: BaseException) -> bool:
    """Whether a server could not be asked, or refused; fsspec says of all of that that there is no such file."""
    refused = getattr(cause, "status", 404) not in (404, 410)
    return refused or (isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError))
