"""Which shards a name means: `faces-{0000..0999}.tar`, `faces-*.tar`, `faces.tar`, or URLs of that kind to read;
`x-%06d.tar`, `x-{0000..0009}.tar` or `x.tar` to write.
"""

import itertools
import math
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec

from imaging.shards.store import Shard, check_protocol, displayed, is_remote, look_at, matches

MOST_SHARDS = 1_000_000
AT_ONCE = 16  # requests to a server
SHARD_SIZE = 1000  # images by default
MOST_FIXED = 10_000  # shards that are written side by side
NUMBERED = r"%0?\d*d"


def is_shards(path: str) -> bool:
    """Whether `path` means shards, rather than a ZIP, a folder (of any name), or a packed tar."""
    if is_pattern(path) or is_shard_dest(path):
        return not Path(path).is_dir()
    return bool(re.search(r"\.(tar\.\w+|tgz)$", path.lower())) and not Path(path).exists()


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
        found = list(pool.map(look_at, urls))
    shards = [shard for shard in found if shard is not None]
    if missing := len(urls) - len(shards):
        raise (ValueError if shards else FileNotFoundError)(
            f"{displayed(urls[found.index(None)])} does not exist ({missing} of {len(urls)} shards are missing): "
            f"restore it, or correct the pattern"
        )
    return shards


def expand(pattern: str) -> list[str]:
    """The names that a pattern with braces stands for: `{000..127}` counts, `{a,b}` chooses; several are combined.

    ValueError if braces hold neither, or stand for more than a million names.
    """
    around = re.split(r"\{([^{}]*)\}", pattern)  # text, content of braces, text, content of braces, ..., text
    choices = [_choices(part) if i % 2 else [part] for i, part in enumerate(around)]
    if re.search("[{}]", "".join(around[::2])) or not 0 < math.prod(map(len, choices)) <= MOST_SHARDS:
        raise ValueError(
            f"{pattern} does not name shards: write {{0000..0999}}, or names as in {{a,b}}, for up to {MOST_SHARDS} "
            f"shards"
        )
    return ["".join(parts) for parts in itertools.product(*choices)]


def _choices(inner: str) -> Sequence[str]:
    """What the content of braces stands for; nothing if it has no meaning."""
    counted = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", inner)
    if not counted:
        return inner.split(",") if "," in inner else ()
    first, last = int(counted[1]), int(counted[2])
    padded = max((len(end) for end in counted.groups() if end.startswith("0") and len(end) > 1), default=0)
    return [str(number).zfill(padded) for number in range(first, min(last, first + MOST_SHARDS) + 1)]


def prefix(pattern: str) -> str:
    """The common beginning of all names, without the separator: `a/faces` for `a/faces-{00..99}.tar`."""
    start = re.split(r"[*\[{%]" if is_remote(pattern) else r"[*\[{%?]", pattern.removesuffix(".tar"))[0]
    return re.sub(r"[-_.]\d*$", "", start)


def has_wildcards(text: str) -> bool:
    """Whether a path or URL has wildcards: `*`, `[...]`, and `?` unless it begins a query."""
    return "*" in text or "[" in text or ("?" in text and "://" not in text)


def without_file_scheme(url: str) -> str:
    """A path for `file://...`; any other URL with its protocol in lower case."""
    kind, mark, rest = url.partition("://")
    if not mark:
        return url
    return rest if kind.lower() == "file" else f"{kind.lower()}://{rest}"


def _matching(url: str) -> list[str]:
    url = without_file_scheme(url)
    if is_remote(url):
        check_protocol(url)  # of all URLs, before any server is asked
        return matches(url) if has_wildcards(url) else [url]
    path = os.path.expanduser(url)  # noqa: PTH111 (a ~ that stays is no error)
    return sorted(fsspec.filesystem("file").glob(path)) if has_wildcards(url) else [path]


def is_shard_dest(dest: str) -> bool:
    """Whether `dest` means shards."""
    return dest.lower().endswith(".tar")


class Layout:
    """Deals images to the shards to be written.

    `x-%06d.tar` is filled shard by shard with `shard_size` images each. To the shards of `x-{0000..0009}.tar`, or to
    `x.tar`, images are dealt in turn.
    """

    def __init__(self, dest: str | Path, shard_size: int = 0) -> None:
        """Raises ValueError if `dest` cannot name shards, or `shard_size` does not apply to it."""
        self.dest, name = str(dest), Path(dest).name
        numbered = re.search(NUMBERED, name)
        self.fixed = [] if numbered else expand(self.dest)
        odd = "%" in re.sub(NUMBERED, "", self.dest, count=1) or len(self.fixed) > MOST_FIXED or "://" in self.dest
        if odd or not is_shard_dest(self.dest) or (shard_size and not numbered):
            raise ValueError(
                f"{dest} does not name shards: write x-%06d.tar, which --shard-size applies to, or up to {MOST_FIXED} "
                f"names on this machine, as in x-{{0000..0009}}.tar"
            )
        self.shard_size = shard_size or SHARD_SIZE
        self.index = Path(f"{prefix(self.dest)}-index.json")
        self.sources = Path(f"{prefix(self.dest)}-sources.csv")

    def number(self, picture: int) -> int:
        """The shard of image number `picture`."""
        return picture % len(self.fixed) if self.fixed else picture // self.shard_size

    def path(self, number: int) -> Path:
        """The file of a shard."""
        return Path(self.fixed[number] if self.fixed else self.dest % number)

    def check_vacant(self) -> None:
        """ValueError if a file exists that the shards would replace, or that would be taken for one of them."""
        named = re.sub(NUMBERED, r"\\d+", re.escape(Path(self.dest).name))
        beside = sorted(path for path in Path(self.dest).parent.glob("*") if re.fullmatch(named, path.name))
        for path in [self.index, self.sources, *(map(Path, self.fixed) if self.fixed else beside)]:
            if path.exists():
                raise taken(path)


def taken(path: Path) -> ValueError:
    """The error of a shard, or index, that exists already."""
    return ValueError(f"{path} exists already: remove the old shards and their index, or choose another name")
