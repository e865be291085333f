"""What a conversion writes to: the interface of writers."""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Self


class Outcome(NamedTuple):
    """What became of picture `number` of a source. It was left out when `reason` says why, or as `twin` of another."""

    number: int
    label: int | None = None
    digest: int | None = None
    enlarged: bool = False
    reason: str | None = None
    twin: int | None = None  # the picture with the same pixels that came first


class Writer(ABC):
    """Takes the outcome of every picture in order, in a `with` block that ends well or leaves `dest` as it was.

    A writer that can go on after an interruption has `settled`, what the earlier run had found out before it wrote,
    and `earlier`, its outcomes. `about` are further keys of dataset.json. `names`, those of the source's pictures by
    number, are kept in the set.
    """

    def __init__(self, dest: Path) -> None:
        self.dest = dest
        self.settled: dict[str, Any] | None = None
        self.about: dict[str, Any] = {}
        self.names: Sequence[str] = ()

    def earlier(self) -> Iterator[Outcome]:
        """What an interrupted run of the same plan has dealt with already."""
        return iter(())

    @abstractmethod
    def note(self, outcome: Outcome, data: bytes | None) -> None:
        """Append a picture, `data` being a PNG file; None where it is left out."""

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(self, *failure: Any) -> None: ...


def source_table(pairs: Iterable[tuple[str, str]]) -> Iterator[bytes]:
    """A CSV in pieces that tells where the pictures of a set are from, made of (file in the set, name in the source).

    Names that are not UTF-8 keep their bytes.
    """
    for row in chain([("file", "source")], pairs):
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(row)
        yield line.getvalue().encode(errors="surrogateescape")
