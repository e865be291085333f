"""Which shards `--data` means: `faces-{0000..0999}.tar`, `faces-*.tar`, `faces.tar`, or URLs of that kind."""

import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import fsspec

from imaging.shards.remote import check_protocol, facts, is_remote, matches, on_this_machine, shown

MOST_SHARDS = 1_000_000
AT_ONCE = 16  # requests to a server


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file. Its mark changes when the file does: the time of its last change, or what its server says instead."""

    url: str  # of a file on this machine, its path
    bytes: int
    mark: str

    @property
    def name(self) -> str:
        """The last part of its address, as an index has it."""
        return listed(self.url.rpartition("/")[2])

    @property
    def shown(self) -> str:
        """Its address as messages name it."""
        return shown(self.url)

    @property
    def is_local(self) -> bool:
        return not is_remote(self.url)


def is_shards(path: str) -> bool:
    """Whether `path` means shards, and not a ZIP, a folder (which may be called as it likes), or a packed tar."""
    if is_pattern(path):
        return True
    plain, packed = path.lower().endswith(".tar"), re.search(r"\.(tar\.\w+|tgz)$", path.lower())
    return (plain and not Path(path).is_dir()) or bool(packed and not Path(path).exists())


def is_pattern(path: str) -> bool:
    """Whether `path` is a URL, or stands for several files."""
    return is_remote(path) or (bool(has_wildcards(path) or re.search(r"\{.*\}", path)) and not Path(path).exists())


def find_shards(pattern: str) -> list[Shard]:
    """The shards that a pattern means, in the order of the pattern, or of their names where wildcards stand in it.

    FileNotFoundError when there is none of them; ValueError when some are missing, or the pattern has no meaning.
    """
    if not re.search(r"\.tar$|[*\]}]$", pattern, re.IGNORECASE):
        raise ValueError(
            f"{shown(pattern)} is no shard: shards are plain .tar files (unpack .tar.gz and .tgz), and other sets than "
            f"shards are read from this machine only"
        )
    urls = [url for each in expand(pattern) for url in _matching(each)]
    if not urls:
        raise FileNotFoundError(f"no file fits {shown(pattern)}: correct the pattern, or bring the shards back")
    if len(set(urls)) < len(urls):
        twice = Counter(urls).most_common(1)[0][0]
        raise ValueError(f"{shown(pattern)} names {shown(twice)} twice: correct the pattern")
    shards = list(_look_at(urls))
    missing = [url for url, shard in zip(urls, shards, strict=True) if shard is None]
    if len(missing) == len(urls):
        raise FileNotFoundError(f"{shown(missing[0])} does not exist: correct the pattern, or bring the shards back")
    if missing:
        raise ValueError(
            f"{shown(missing[0])} is missing ({len(missing)} of {len(urls)} shards are): bring it back, or correct the "
            f"pattern"
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
    start = re.split(r"[*\[{%]" if is_remote(pattern) else r"[*\[{%?]", pattern.removesuffix(".tar"))[0]
    return re.sub(r"[-_.]\d*$", "", start)


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


def listed(name: str) -> str:
    """The name of a file as UTF-8 text can hold it, whatever bytes it has."""
    return name.encode("utf-8", "backslashreplace").decode()


def has_wildcards(text: str) -> bool:
    """Whether a path or URL has wildcards: `*`, `[...]`, and `?` where it does not begin a query."""
    return "*" in text or "[" in text or ("?" in text and "://" not in text)


def _matching(url: str) -> list[str]:
    url = on_this_machine(url)
    if is_remote(url):
        check_protocol(url)  # of all of them, before a server is asked for any
        return matches(url) if has_wildcards(url) else [url]
    path = os.path.expanduser(url)  # noqa: PTH111 (a ~ that stays is no error)
    return sorted(fsspec.filesystem("file").glob(path)) if has_wildcards(url) else [path]


def _look_at(urls: list[str]) -> Iterator[Shard | None]:
    """Every shard, or None where there is no such file."""
    if not any(map(is_remote, urls)):
        yield from map(_look_at_file, urls)
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda url: _look_at_url(url) if is_remote(url) else _look_at_file(url), urls)


def _look_at_file(path: str) -> Shard | None:
    try:
        state = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not Path(path).is_file():
        what = "a folder" if Path(path).is_dir() else "not a file"
        raise ValueError(f"{shown(path)} is {what}, and shards are .tar files: correct the pattern")
    return Shard(path, state.st_size, str(state.st_mtime_ns))


def _look_at_url(url: str) -> Shard | None:
    found = facts(url)
    return None if found is None else Shard(url, *found)
