"""The contents of each shard: its number of samples, their classes, sizes and modes.

It comes from `PREFIX-index.json`, which the writer of shards leaves beside them. Without it all headers are read once,
and the result is kept in the cache folder.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from tqdm import tqdm

from imaging.labels import MOST_CLASSES
from imaging.parallel import ordered
from imaging.shards.pattern import expand, has_wildcards, prefix, without_file_scheme
from imaging.shards.store import Shard, Store, displayed, is_remote, listed, look_at
from imaging.shards.table import Row, kept_table, table_of
from system.resources import cores
from system.text import printable

LARGEST_INDEX = 2**28  # bytes
WORTH_PROCESSES = 2**28  # bytes of shards that take longer to read than processes take to start


class Index(BaseModel):
    """The shards of a set, in its order. Unknown keys are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    format: Literal["shards 1"] = "shards 1"
    class_names: Annotated[tuple[str, ...], Field(max_length=MOST_CLASSES)] | None = None
    shards: tuple[Row, ...]

    @field_validator("class_names", mode="before")
    @classmethod
    def _as_text(cls, names: Any) -> Any:
        plain = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
        return tuple(map(listed, names)) if plain else names

    def to_json(self) -> bytes:
        """The content of the file: ASCII, whatever letters the names have."""
        return json.dumps(self.model_dump(exclude_none=True), separators=(",", ":")).encode()


def names_of_classes(index: Index | None, count: int) -> tuple[str, ...]:
    """The class names in the index, if there are at least `count`; otherwise class numbers."""
    given = index.class_names if index is not None else None
    return given if given is not None and len(given) >= count else tuple(map(str, range(count)))


def read_index(pattern: str, shards: Sequence[Shard], labeled: bool, store: Store) -> tuple[Index, str]:
    """The index of these shards, and a sentence for the user, or "". A large set is read by processes on all cores.

    ValueError says which shard or sample is wrong, and what to do.
    """
    index, note = read_beside(pattern, shards, store)
    if index is not None:
        return index, note
    unread = [shard for shard in shards if not kept_table(shard, labeled, store).exists()]
    large = sum(shard.bytes for shard in unread) >= WORTH_PROCESSES
    if not large:
        store.expect(unread)
    rows = ordered(partial(row_of, labeled=labeled, store=store), shards, cores() if large else 1, 1, fork=False)
    quiet = not large or not sys.stderr.isatty()
    shown = tqdm(rows, "reading shards", len(shards), leave=False, disable=quiet, unit=" shards")
    return Index(shards=tuple(shown)), note


def read_beside(pattern: str, shards: Sequence[Shard], store: Store) -> tuple[Index | None, str]:
    """The index beside the shards if it fits them; otherwise None, and why it is ignored.

    ValueError if it lists shards that match the wildcards of `pattern` but do not exist: the set is incomplete.
    """
    url = without_file_scheme(f"{prefix(pattern)}-index.json")
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
    rows = {row.name: row for row in index.shards}
    _check_complete(pattern, name, rows, shards)
    if any(shard.name not in rows or rows[shard.name].bytes != shard.bytes for shard in shards):
        return None, f"{name} is ignored: it does not fit the shards"
    return index.model_copy(update={"shards": tuple(rows[shard.name] for shard in shards)}), ""


def _check_complete(pattern: str, name: str, rows: Iterable[str], shards: Sequence[Shard]) -> None:
    folder, _, last = pattern.rpartition("/")
    if not has_wildcards(last) or has_wildcards(folder) or "{" in folder:
        return
    there, meant = {shard.name for shard in shards}, expand(listed(last))
    missing = [row for row in rows if row not in there and any(fnmatchcase(row, each) for each in meant)]
    if missing:
        raise ValueError(
            f"{displayed(missing[0])} is missing ({len(missing)} of the {len(missing) + len(there)} shards that {name} "
            f"lists are): restore it, or repeat the command that wrote the shards; to use a part of the set, name its "
            f"shards, as in x-{{0000..0007}}.tar"
        )


def row_of(shard: Shard, labeled: bool, store: Store) -> Row:
    """The row of a shard in an index."""
    return table_of(shard, labeled, store).row
