"""The interface of every source of images: ordered names, contents, and labels."""

import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imaging.deep import Span
from imaging.labels import Labels, without
from imaging.picture import Header, decode, read_header
from imaging.transforms import mode_of, to_mode

Content = bytes | Image.Image  # an image file as it is, or pixels
Job = tuple[int, str, Content | ValueError | None]  # index, name, and the content from a sequential source


class Numbered(Sequence[str]):
    """Names of numbered images, which take no memory: `Numbered("frame{:08d}", 3)`."""

    def __init__(self, pattern: str, count: int) -> None:
        self.pattern, self._count = pattern, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self.pattern.format(index)


class Source(ABC):
    """Images that can be read in any order. Instances can be pickled, and used after a fork.

    `header` is set if all images are known to have one size and mode; `notes` are sentences a user should read.
    """

    kind: str  # the format, in words
    header: Header | None = None

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        if not names:
            raise ValueError(f"{path} ({self.kind}) holds no images: give another")
        self.path, self.names = path, names
        self.notes: list[str] = []

    @abstractmethod
    def read(self, index: int) -> Content:
        """Image `index` of `names`. ValueError, with its name, if it cannot be read."""

    def header_of(self, index: int) -> Header:
        """Size and mode of image `index`; ValueError as `read`."""
        return self.header or header(self.read(index), self.names[index])

    def labels(self) -> Labels:
        """The labels in the format itself. ValueError says what is wrong with them."""
        return without(len(self.names), f"the set is unlabeled, since {self.kind} has no labels")

    def identity(self) -> str:
        """Changes if the images do, as far as names, sizes and times tell."""
        return identity_of([self.path])


class SequentialSource(Source):
    """Images that can only be read one after another, in the order of `names`."""

    knows_headers = False  # whether `header_of` need not read the image

    @abstractmethod
    def stream(self, indices: Iterable[int]) -> Iterator[tuple[int, Content | ValueError]]:
        """The images of ascending `indices`, read from front to back; an error takes the place of a broken image."""

    def read(self, index: int) -> Content:
        content = next(self.stream([index]))[1]
        if isinstance(content, ValueError):
            raise content
        return content


class ArraySource(SequentialSource):
    """Images in memory, uint8 [N, H, W] or [N, H, W, 3], with a label each."""

    def __init__(self, path: Path, kind: str, name: str, pixels: np.ndarray, labels: Labels) -> None:
        self.kind = kind
        super().__init__(path, Numbered(name, len(pixels)))
        self.pixels, self._labels = pixels, labels
        self.header = Header(pixels.shape[2], pixels.shape[1], "RGB" if pixels.ndim == 4 else "L")

    def stream(self, indices: Iterable[int]) -> Iterator[tuple[int, Content | ValueError]]:
        for i in indices:
            yield i, Image.fromarray(np.ascontiguousarray(self.pixels[i]))

    def labels(self) -> Labels:
        return self._labels


class Work:
    """What a process does with a job. Sequential sources stay in the parent process, which sends their contents."""

    def __init__(self, source: Source) -> None:
        self.source = None if isinstance(source, SequentialSource) else source

    def content(self, job: Job) -> Content:
        """The content of a job. ValueError if it cannot be read."""
        index, _, content = job
        if isinstance(content, ValueError):
            raise content
        if content is not None:
            return content
        assert self.source is not None
        return self.source.read(index)


def jobs(source: Source, indices: Iterable[int]) -> Iterator[Job]:
    """The jobs for the images `indices`: with contents from sequential sources, otherwise only with numbers."""
    if isinstance(source, SequentialSource):
        for i, content in source.stream(map(int, indices)):
            yield i, source.names[i], content
    else:
        for i in map(int, indices):
            yield i, source.names[i], None


def header(content: Content, name: str) -> Header:
    """Size and mode of an image. ValueError, with its name, if it is broken."""
    if isinstance(content, bytes):
        return read_header(io.BytesIO(content), name)
    return Header(content.width, content.height, mode_of(content))


def picture(
    content: Content, name: str, mode: str, enough: tuple[int, int] | None = None, span: Span | None = None
) -> Image.Image:
    """An upright image in mode L, RGB or RGBA, as `decode`. ValueError, with its name, if it is broken."""
    if isinstance(content, bytes):
        return decode(io.BytesIO(content), name, mode, enough, span)
    return to_mode(content, mode)


def identity_of(files: Sequence[Path]) -> str:
    """A digest of names, sizes and times of files."""
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()


@contextmanager
def needing(package: str, what: str) -> Iterator[None]:
    """Around the import of a package that only `what` needs: ValueError says how to get it."""
    try:
        yield
    except ImportError as error:
        raise ValueError(f"reading {what} needs the package {package}: pip install {package}") from error
