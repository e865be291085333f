"""Shards on servers, through fsspec: which URLs are allowed, what a server says about a file, and downloads.

Servers are not trusted: only protocols that speak to the host in the URL are allowed, and a download is cut off once it
exceeds the announced size.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.callbacks import Callback

from imaging.opening import reason
from system.text import printable, public

PACKAGES = {  # protocol -> the package that fsspec needs for it
    "https": "aiohttp",
    "http": "aiohttp",
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "hf": "huggingface_hub",
}
WEB = ("http", "https")  # in these URLs :: has no meaning
MARKS = ("ETag", "etag", "Last-Modified", "LastModified", "last_modified", "last_commit", "mtime", "updated", "created")
LARGEST = 2**50  # bytes of a file


def is_remote(url: str) -> bool:
    """Whether `url` is a URL rather than a path on this machine."""
    return "://" in url


def without_file_scheme(url: str) -> str:
    """A path for `file://...`; any other URL with its protocol in lower case."""
    kind, mark, rest = url.partition("://")
    if not mark:
        return url
    return rest if kind.lower() == "file" else f"{kind.lower()}://{rest}"


def check_protocol(url: str) -> None:
    """ValueError for a URL whose protocol is not in `PACKAGES`, or a chain such as `simplecache::s3://...`."""
    kind = url.partition("://")[0]
    if kind not in PACKAGES or ("::" in url and kind not in WEB):
        raise ValueError(
            f"{displayed(url)} cannot be opened: shards are read from this machine or by https://, http://, s3://, "
            f"gs:// and hf://, without chains of protocols (::); correct the address, or copy the shards here"
        )


def filesystem(url: str) -> tuple[Any, str]:
    """fsspec's file system for a URL, and the path in it. ValueError as `check_protocol`, or for a missing package."""
    check_protocol(url)
    kind = url.partition("://")[0]
    try:
        return (fsspec.filesystem(kind), url) if kind in WEB else fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ValueError(f"{displayed(url)} needs a missing package: pip install {PACKAGES[kind]}") from error
    except Exception as error:  # protocols check their arguments as they please
        raise ValueError(f"{displayed(url)} cannot be opened ({reason(error)}): correct the address") from error


def matches(url: str) -> list[str]:
    """The URLs that match one with wildcards, sorted. ValueError if the server does not list its files."""
    fs, path = filesystem(url)
    with reaching(url):
        return sorted(without_file_scheme(fs.unstrip_protocol(found)) for found in fs.glob(path))


def facts(url: str) -> tuple[int, str] | None:
    """Size of a file in bytes, and a mark that changes if the file does; None if there is no such file.

    ValueError if the server cannot be reached or does not tell the size.
    """
    fs, path = filesystem(url)
    try:
        with reaching(url):
            told = fs.info(path)
    except FileNotFoundError:
        return None
    size = told.get("size")
    if type(size) is not int or not 0 <= size <= LARGEST:
        raise ValueError(f"the server of {displayed(url)} does not tell its size: copy the shards to this machine")
    return size, next((str(told[mark]) for mark in MARKS if told.get(mark)), "")


def fetch(url: str, to: Path, most: int) -> None:
    """Download a file to `to`. ValueError once more than `most` bytes come, or if the server cannot be reached."""
    fs, path = filesystem(url)
    with reaching(url):
        fs.get_file(path, str(to), callback=_Limit(url, most))


class _Limit(Callback):
    """fsspec calls it after each part of a download; it stops the download if too many bytes came."""

    def __init__(self, url: str, most: int) -> None:
        super().__init__()
        self.url, self.most = url, most

    def call(self, hook_name: str | None = None, **kwargs: Any) -> None:
        if max(self.value, self.size or 0) > self.most:
            raise ValueError(
                f"{displayed(self.url)} sends more than the {self.most} bytes announced: check the server, and "
                f"whether the file is being changed"
            )


def displayed(url: str) -> str:
    """A URL or path as messages name it: in one line, without a password."""
    return printable(public(url))


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turn whatever a server, or the library that speaks to it, raises into one sentence; FileNotFoundError stays."""
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
            f"{displayed(url)} cannot be read ({reason(cause)}): check the address and the connection"
        ) from error


def _is_failure(cause: BaseException) -> bool:
    """Whether a server could not be reached, or refused; fsspec says "no such file" for these, too."""
    refused = getattr(cause, "status", 404) not in (404, 410)
    return refused or (isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError))
