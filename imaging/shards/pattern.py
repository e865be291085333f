"""Which shards `--data` means: `faces-{0000..0999}.tar`, `faces-*.tar`, `faces.tar`, or URLs of that kind."""

import itertools
import math
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import fsspec

from imaging.shards.remote import check_protocol, displayed, facts, is_remote, matches, without_file_scheme

MOST_SHARDS = 1_000_000
AT_ONCE = 16  # requests to a server


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file. Its mark changes if the file does: the time of its last change, or what its server says instead."""

    url: str  # of a local file, its path
    bytes: int
    mark: str

    @property
    def name(self) -> str:
        """The last part of its address, as an index has it."""
        return listed(self.url.rpartition("/")[2])

    @property
    def displayed(self) -> str:
        """Its address as messages name it."""
        return displayed(self.url)

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine."""
        return not is_remote(self.url)


def is_shards(path: str) -> bool:
    """Whether `path` means shards, rather than a ZIP, a folder (of any name), or a packed tar."""
    if is_pattern(path):
        return True
    plain, packed = path.lower().endswith(".tar"), re.search(r"\.(tar\.\w+|tgz)$", path.lower())
    return (plain and not Path(path).is_dir()) or bool(packed and not Path(path).exists())


def is_pattern(path: str) -> bool:
    """Whether `path` is a URL, or stands for several files."""
    return is_remote(path) or (bool(has_wildcards(path) or re.search(r"\{.*\}", path)) and not Path(path).exists())


def find_shards(pattern: str) -> list[Shard]:
    """The shards that match a pattern, in the order of its braces, and of names where it has wildcards.

    FileNotFoundError if there are none; ValueError if some are missing, or the pattern has no meaning.
    """
    if not re.search(r"\.tar$|[*\]}]$", pattern, re.IGNORECASE):
        raise ValueError(
            f"{displayed(pattern)} is not a shard: shards are plain .tar files (unpack .tar.gz and .tgz), and other "
            f"data sets must be on this machine"
        )
    urls = [url for each in expand(pattern) for url in _matching(each)]
    if not urls:
        raise FileNotFoundError(f"no file matches {displayed(pattern)}: correct the pattern, or restore the shards")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        shards = list(pool.map(_look_at, urls))
    missing = [url for url, shard in zip(urls, shards, strict=True) if shard is None]
    if missing:
        kind = FileNotFoundError if len(missing) == len(urls) else ValueError
        raise kind(
            f"{displayed(missing[0])} does not exist ({len(missing)} of {len(urls)} shards are missing): restore it, "
            f"or correct the pattern"
        )
    return [shard for shard in shards if shard is not None]


def expand(pattern: str) -> list[str]:
    """The names that a pattern with braces stands for: `{000..127}` counts, `{a,b}` chooses; several are combined.

    ValueError if braces hold neither, or stand for more than a million names.
    """
    around = re.split(r"\{([^{}]*)\}", pattern)  # text, content of braces, text, content of braces, ..., text
    choices = [_choices(inner) for inner in around[1::2]]
    if any("{" in text or "}" in text for text in around[::2]) or not 0 < math.prod(map(len, choices)) <= MOST_SHARDS:
        raise ValueError(
            f"{pattern} does not name shards: write {{0000..0999}}, or names as in {{a,b}}, for up to {MOST_SHARDS} "
            f"shards"
        )
    alternating = [[text] if i % 2 == 0 else choices[i // 2] for i, text in enumerate(around)]
    return ["".join(parts) for parts in itertools.product(*alternating)]


def _choices(inner: str) -> Sequence[str]:
    """What the content of braces stands for; nothing if it has no meaning."""
    counted = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", inner)
    if not counted:
        return inner.split(",") if "," in inner else ()
    first, last = int(counted[1]), int(counted[2])
    if last - first >= MOST_SHARDS:
        return ()
    padded = max((len(end) for end in counted.groups() if end.startswith("0") and len(end) > 1), default=0)
    return [str(number).zfill(padded) for number in range(first, last + 1)]


def prefix(pattern: str) -> str:
    """The common beginning of all names, without the separator: `a/faces` for `a/faces-{00..99}.tar`."""
    start = re.split(r"[*\[{%]" if is_remote(pattern) else r"[*\[{%?]", pattern.removesuffix(".tar"))[0]
    return re.sub(r"[-_.]\d*$", "", start)


def listed(name: str) -> str:
    """The name of a file as UTF-8 text, whatever bytes it has."""
    return name.encode("utf-8", "backslashreplace").decode()


def has_wildcards(text: str) -> bool:
    """Whether a path or URL has wildcards: `*`, `[...]`, and `?` unless it begins a query."""
    return "*" in text or "[" in text or ("?" in text and "://" not in text)


def _matching(url: str) -> list[str]:
    url = without_file_scheme(url)
    if is_remote(url):
        check_protocol(url)  # of all URLs, before any server is asked
        return matches(url) if has_wildcards(url) else [url]
    path = os.path.expanduser(url)  # noqa: PTH111 (a ~ that stays is no error)
    return sorted(fsspec.filesystem("file").glob(path)) if has_wildcards(url) else [path]


def _look_at(url: str) -> Shard | None:
    """A shard, or None if there is no such file."""
    if is_remote(url):
        found = facts(url)
        return None if found is None else Shard(url, *found)
    try:
        state = Path(url).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not Path(url).is_file():
        raise ValueError(f"{displayed(url)} is not a file, and shards are .tar files: correct the pattern")
    return Shard(url, state.st_size, str(state.st_mtime_ns))
