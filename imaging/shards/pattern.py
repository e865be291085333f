"""Which shards `--data` means: `faces-{0000..0999}.tar`, `faces-*.tar`, `faces.tar`, or URLs of that kind."""

import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

MOST_SHARDS = 1_000_000
AT_ONCE = 16  # requests to a server
PACKAGES = {  # what fsspec wants installed, for each kind of URL
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "hf": "huggingface_hub",
    "http": "aiohttp",
    "https": "aiohttp",
    "az": "adlfs",
    "abfs": "adlfs",
}
MARKS = ("ETag", "etag", "Last-Modified", "LastModified", "last_modified", "last_commit", "mtime", "updated", "created")


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file. Its mark changes when the file does: the time of its last change, or what its server says instead."""

    url: str  # of a file on this machine, its path
    bytes: int
    mark: str

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def is_local(self) -> bool:
        return "://" not in self.url


def is_shards(path: str) -> bool:
    """Whether `path` means shards, and not a ZIP or a folder (which may be called as it likes)."""
    packed_or_not = re.search(r"\.(tar(\.\w+)?|tgz)$", path.lower())
    return is_pattern(path) or bool(packed_or_not and not Path(path).is_dir())


def is_pattern(path: str) -> bool:
    """Whether `path` is a URL, or stands for several files."""
    return "://" in path or (bool(_has_wildcards(path) or re.search(r"\{.*\}", path)) and not Path(path).exists())


def find_shards(pattern: str) -> list[Shard]:
    """The shards that a pattern means, in the order of the pattern, or of their names where wildcards stand in it.

    FileNotFoundError when there is none of them; ValueError when some are missing, or the pattern has no meaning.
    """
    pattern = pattern.removeprefix("file://")
    if not re.search(r"\.tar$|[*\]}]$", pattern):
        raise ValueError(
            f"{pattern} is no shard: shards are plain .tar files (unpack .tar.gz and .tgz), and other sets than shards "
            f"are read from this machine only"
        )
    urls = [url for each in expand(pattern) for url in _matching(each)]
    if not urls:
        raise FileNotFoundError(f"no file fits {pattern}: correct the pattern, or bring the shards back")
    if len(set(urls)) < len(urls):
        twice = Counter(urls).most_common(1)[0][0]
        raise ValueError(f"{pattern} names {twice} twice: correct the pattern")
    shards = list(_look_at(urls))
    missing = [url for url, shard in zip(urls, shards, strict=True) if shard is None]
    if len(missing) == len(urls):
        raise FileNotFoundError(f"{missing[0]} does not exist: correct the pattern, or bring the shards back")
    if missing:
        raise ValueError(
            f"{missing[0]} is missing ({len(missing)} of {len(urls)} shards are): bring it back, or correct the pattern"
        )
    return [shard for shard in shards if shard is not None]


def expand(pattern: str) -> list[str]:
    """The names that a pattern with braces stands for: `{000..127}` counts, `{a,b}` chooses; several are combined.

    ValueError when braces hold neither, or stand for more than a million names.
    """
    around = re.split(r"\{([^{}]*)\}", pattern)  # text, what was in braces, text, what was in braces, ..., text
    if any("{" in text or "}" in text for text in around[::2]):
        raise ValueError(f"the braces of {pattern} are not closed, or lie in one another: write them one after another")
    choices = [_choices(inner, pattern) for inner in around[1::2]]
    if math.prod(map(len, choices)) > MOST_SHARDS:
        raise _too_many(pattern)
    texts = [[text] for text in around[::2]]
    alternating = [each for pair in zip(texts, [*choices, [""]], strict=True) for each in pair]
    return ["".join(parts) for parts in itertools.product(*alternating)]


def prefix(pattern: str) -> str:
    """What the names of all shards begin with, without the separator: `a/faces` of `a/faces-{00..99}.tar`."""
    start = re.split(r"[*\[{%]", pattern.removesuffix(".tar"))[0]
    return re.sub(r"[-_.]\d*$", "", start)


def filesystem(url: str) -> tuple[Any, str]:
    """What fsspec opens a URL with, and the path therein. ValueError says which package is missing."""
    kind = url.partition("://")[0]
    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = PACKAGES.get(kind)
        advice = f"pip install {package}" if package else str(error)
        raise ValueError(f"{url} needs a package that is not installed: {advice}") from error
    except Exception as error:  # protocols check their arguments as they please
        raise ValueError(f"{url} cannot be opened ({reason(error)}): correct the address") from error


def reason(error: BaseException) -> str:
    """What went wrong, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


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
        raise ValueError(f"{url} cannot be read ({reason(cause)}): check the address and the connection") from error


def _is_failure(cause: BaseException) -> bool:
    """Whether a server could not be asked, or refused; fsspec says of all of that that there is no such file."""
    refused = getattr(cause, "status", 404) not in (404, 410)
    return refused or (isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError))


def _choices(inner: str, pattern: str) -> list[str]:
    counted = re.fullmatch(r"(\d+)\.\.(\d+)", inner)
    if not counted:
        if "," in inner:
            return inner.split(",")
        raise ValueError(f"{{{inner}}} in {pattern} is no range: write {{0000..0999}}, or names as in {{a,b}}")
    first, last = int(counted[1]), int(counted[2])
    if last < first:
        raise ValueError(f"{{{inner}}} in {pattern} counts backwards: write {{{counted[2]}..{counted[1]}}}")
    if last - first >= MOST_SHARDS:
        raise _too_many(pattern)
    padded = max((len(end) for end in counted.groups() if end.startswith("0") and len(end) > 1), default=0)
    return [str(number).zfill(padded) for number in range(first, last + 1)]


def _too_many(pattern: str) -> ValueError:
    return ValueError(f"{pattern} names more than {MOST_SHARDS} shards: correct the pattern")


def _has_wildcards(text: str) -> bool:
    return "*" in text or "[" in text or ("?" in text and "://" not in text)  # in a URL it begins a query


def _matching(url: str) -> list[str]:
    if not _has_wildcards(url):
        return [url if "://" in url else os.path.expanduser(url)]  # noqa: PTH111
    if "://" not in url:
        return sorted(fsspec.filesystem("file").glob(os.path.expanduser(url)))  # noqa: PTH111
    fs, path = filesystem(url)
    with reaching(url):
        return sorted(map(fs.unstrip_protocol, fs.glob(path)))


def _look_at(urls: list[str]) -> Iterator[Shard | None]:
    """Every shard, or None where there is no such file."""
    if all("://" not in url for url in urls):
        yield from map(_look_at_file, urls)
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda url: _look_at_url(url) if "://" in url else _look_at_file(url), urls)


def _look_at_file(path: str) -> Shard | None:
    try:
        state = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not Path(path).is_file():
        raise ValueError(f"{path} is a folder, and shards are .tar files: correct the pattern")
    return Shard(path, state.st_size, str(state.st_mtime_ns))


def _look_at_url(url: str) -> Shard | None:
    fs, path = filesystem(url)
    try:
        with reaching(url):
            facts = fs.info(path)
    except FileNotFoundError:
        return None
    if not isinstance(facts.get("size"), int):
        raise ValueError(f"the server of {url} does not tell its size: copy the shards to this machine")
    return Shard(url, facts["size"], next((str(facts[mark]) for mark in MARKS if facts.get(mark)), ""))
