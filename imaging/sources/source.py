"""What every source of pictures offers, whatever its format: names in an order of its own, contents, and labels."""

import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image

from imaging.deep import Span
from imaging.labels import Labels, without
from imaging.picture import Header, decode, read_header
from imaging.transforms import mode_of, to_mode

Content = bytes | Image.Image  # a picture file as it was found, or pixels


class Numbered(Sequence[str]):
    """Names of pictures that have only numbers: `Numbered("frame{:08d}", 3)`. They take no memory."""

    def __init__(self, pattern: str, count: int) -> None:
        self.pattern, self._count = pattern, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self.pattern.format(i) for i in range(*index.indices(self._count)))
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return self.pattern.format(index % self._count)


class Source(ABC):
    """Pictures that can be read in any order. Instances can be pickled, and used after a fork.

    `header` is set where all pictures are known to have one size and mode; `notes` are sentences a user should read.
    """

    kind: str  # of format, in words
    header: Header | None = None

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        if not names:
            raise ValueError(f"{path} ({self.kind}) holds no pictures: give another")
        self.path, self.names = path, names
        self.notes: list[str] = []

    @abstractmethod
    def read(self, index: int) -> Content:
        """Picture `index` of `names`. ValueError says by name what cannot be read."""

    def header_of(self, index: int) -> Header:
        """Size and mode of picture `index`, unless `header` says them of all; ValueError as `read`."""
        return self.header or header(self.read(index), self.names[index])

    def labels(self) -> Labels:
        """The labels that the format itself has. ValueError says what is wrong with them."""
        return without(len(self.names), f"the set is unlabelled, for {self.kind} has no labels")

    def identity(self) -> str:
        """Changes when the pictures do, as far as a look from outside can tell."""
        return identity_of([self.path])


class SequentialSource(Source):
    """Pictures that can only be had one after another, in the order of `names`."""

    knows_headers = False  # whether `header_of` answers without reading the picture

    @abstractmethod
    def stream(self, indices: Iterable[int]) -> Iterator[tuple[int, Content | ValueError]]:
        """The pictures of ascending `indices`, in one go from front to back; an error takes a picture's place."""

    def read(self, index: int) -> Content:
        content = next(self.stream([index]))[1]
        if isinstance(content, ValueError):
            raise content
        return content


class ArraySource(SequentialSource):
    """Pictures that lie in memory, uint8 [N, H, W] or [N, H, W, 3], with a label each."""

    def __init__(self, path: Path, kind: str, name: str, parts: list[np.ndarray], labels: Labels) -> None:
        self.kind = kind
        super().__init__(path, Numbered(name, sum(map(len, parts))))
        self.parts, self._labels = parts, labels
        height, width, *channels = parts[0].shape[1:]
        self.header = Header(width, height, "RGB" if channels else "L")

    def stream(self, indices: Iterable[int]) -> Iterator[tuple[int, Content | ValueError]]:
        ends = np.cumsum([len(part) for part in self.parts])
        for i in indices:
            part = int(np.searchsorted(ends, i, side="right"))
            place = i - int(ends[part]) + len(self.parts[part])
            yield i, Image.fromarray(np.ascontiguousarray(self.parts[part][place]))

    def labels(self) -> Labels:
        return self._labels


def header(content: Content, name: str) -> Header:
    """Size and mode of a picture. ValueError, with its name, when it is none."""
    if isinstance(content, bytes):
        return read_header(io.BytesIO(content), name)
    return Header(content.width, content.height, mode_of(content))


def picture(
    content: Content, name: str, mode: str, enough: tuple[int, int] | None = None, span: Span | None = None
) -> Image.Image:
    """A picture upright and in mode L, RGB or RGBA; else as `decode`. ValueError, with its name, when it is none."""
    if isinstance(content, bytes):
        return decode(io.BytesIO(content), name, mode, enough, span)
    return to_mode(content, mode)


def identity_of(files: Sequence[Path]) -> str:
    """Names, sizes and times of files, in short."""
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()


@contextmanager
def needing(package: str, what: str) -> Iterator[None]:
    """Around the import of a package that only `what` needs: ValueError says how to get it."""
    try:
        yield
    except ImportError as error:
        raise ValueError(
            f"to read {what} takes the package {package}, which is not installed: pip install {package}"
        ) from error
