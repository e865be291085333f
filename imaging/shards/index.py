"""Which shards a pattern means, and what is in each: its number of samples, their classes, sizes and modes.

The contents come from `PREFIX-index.json`, which the writer of shards leaves beside them. Without it all headers are
read once, and the result is kept in the cache folder.
"""

import itertools
import json
import math
import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import fsspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from tqdm import tqdm

from imaging.labels import MOST_CLASSES
from imaging.parallel import ordered
from imaging.shards.store import Shard, Store, displayed, is_remote, listed, look_at, server
from imaging.shards.table import TABLES, Row, table_of
from system.resources import cores
from system.text import printable

MOST_SHARDS = 1_000_000
AT_ONCE = 16  # requests to a server
LARGEST_INDEX = 2**28  # bytes
WORTH_PROCESSES = 2**28  # bytes of shards that take longer to read than processes take to start


def is_shards(path: str) -> bool:
    """Whether `path` means shards, rather than a ZIP, a folder (of any name), or a packed tar."""
    if is_pattern(path) or path.lower().endswith(".tar"):
        return not Path(path).is_dir()
    return bool(re.search(r"\.(tar\.\w+|tgz)$", path.lower())) and not Path(path).exists()


def is_pattern(path: str) -> bool:
    """Whether `path` is a URL, or stands for several files."""
    return is_remote(path) or (bool(has_wildcards(path) or re.search(r"\{.*\}", path)) and not Path(path).exists())


def find_shards(pattern: str) -> list[Shard]:
    """The shards of a pattern: braces keep their order, matches of wildcards are sorted by name.

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
    """The names that a pattern with braces means: `{000..127}` counts, `{a,b}` chooses. ValueError for other braces."""
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


def _matching(url: str) -> list[str]:
    """The paths, or URLs with their protocol in lower case, that a path or URL with wildcards means."""
    url = re.sub("^[^:/]*(?=://)", lambda kind: kind[0].lower(), url).removeprefix("file://")
    if is_remote(url):
        with server(url) as (files, path):
            return sorted(map(files.unstrip_protocol, files.glob(path))) if has_wildcards(url) else [url]
    path = os.path.expanduser(url)  # noqa: PTH111 (a ~ that stays is no error)
    return sorted(fsspec.filesystem("file").glob(path)) if has_wildcards(url) else [path]


ClassName = Annotated[str, BeforeValidator(lambda name: listed(name) if isinstance(name, str) else name)]


class Index(BaseModel):
    """The shards of a set, in its order. Unknown keys are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    format: Literal["shards 1"] = "shards 1"
    class_names: Annotated[tuple[ClassName, ...], Field(max_length=MOST_CLASSES)] | None = None
    shards: tuple[Row, ...]

    def to_json(self) -> bytes:
        """The content of the file: ASCII, whatever letters the names have."""
        return json.dumps(self.model_dump(exclude_none=True), separators=(",", ":")).encode()


def names_of_classes(index: Index | None, count: int) -> tuple[str, ...]:
    """The class names in the index, if there are at least `count`; otherwise class numbers."""
    given = index.class_names if index is not None else None
    return given if given is not None and len(given) >= count else tuple(map(str, range(count)))


def read_index(pattern: str, shards: Sequence[Shard], labeled: bool, store: Store) -> tuple[Index, str]:
    """The index of these shards, and a sentence for the user, or "". ValueError says which shard or sample is wrong."""
    index, note = read_beside(pattern, shards, store)
    if index is not None:
        return index, note
    unread = [shard for shard in shards if not shard.kept(store.folder, TABLES[labeled]).exists()]
    # A large set is read by processes on all cores.
    large = sum(shard.bytes for shard in unread) >= WORTH_PROCESSES
    if not large:
        store.expect(unread[1:])
    rows = ordered(partial(row_of, labeled=labeled, store=store), shards, cores() if large else 1, 1)
    quiet = not large or not sys.stderr.isatty()
    shown = tqdm(rows, "reading shards", len(shards), leave=False, disable=quiet, unit=" shards")
    return Index(shards=tuple(shown)), note


def read_beside(pattern: str, shards: Sequence[Shard], store: Store) -> tuple[Index | None, str]:
    """The index beside the shards if it fits them; otherwise None, and why it is ignored.

    ValueError if it lists shards that match the wildcards of `pattern` but do not exist: the set is incomplete.
    """
    url = _matching(f"{prefix(pattern)}-index.json")[0]
    name = displayed(url.rpartition("/")[2])
    try:
        found = look_at(url)
        if found is None:
            return None, ""
        if found.bytes > LARGEST_INDEX:
            raise ValueError(f"it has more than {LARGEST_INDEX} bytes")
        with store.open(found) as file:
            index = Index.model_validate_json(file.read(found.bytes))
    except ValidationError as error:
        what = printable(error.errors(include_input=False, include_context=False, include_url=False)[0]["msg"], 80)
        return None, f"{name} is ignored: not an index of shards ({what})"
    except ValueError as error:
        return None, "" if is_remote(url) else f"{name} is ignored: {error}"
    rows, there = {row.name: row for row in index.shards}, {shard.name for shard in shards}
    folder, _, last = pattern.rpartition("/")
    if has_wildcards(last) and not has_wildcards(folder) and "{" not in folder:
        meant = expand(listed(last))
        missing = [row for row in rows if row not in there and any(fnmatchcase(row, each) for each in meant)]
        if missing:
            raise ValueError(
                f"{displayed(missing[0])} is missing ({len(missing)} of the {len(missing) + len(there)} shards that "
                f"{name} lists are): restore it, or repeat the command that wrote the shards; to use a part of the "
                f"set, name its shards, as in x-{{0000..0007}}.tar"
            )
    if any(shard.name not in rows or rows[shard.name].bytes != shard.bytes for shard in shards):
        return None, f"{name} is ignored: it does not fit the shards"
    return index.model_copy(update={"shards": tuple(rows[shard.name] for shard in shards)}), ""


def row_of(shard: Shard, labeled: bool, store: Store) -> Row:
    """The row of a shard in an index."""
    return table_of(shard, labeled, store).row
