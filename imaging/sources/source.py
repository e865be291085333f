"""The interface of every source of images: ordered names, contents, and labels."""

import hashlib
import importlib
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from imaging.labels import Labels, without
from imaging.opening import RefusedError, reason
from imaging.picture import Header, Span, decode, read_header
from imaging.transforms import mode_of, to_mode

Content = bytes | Image.Image  # an image file as it is, or pixels
Job = tuple[int, str, Content | ValueError | None]  # index, name, and the content from a sequential source


class Source(ABC):
    """Images that can be read in any order. Instances can be pickled, and used after a fork.

    `header` is set if all images are known to have one size and mode; `notes` are sentences a user should read;
    `files` are what is read.
    """

    kind: str  # the format, in words
    header: Header | None = None

    def __init__(self, path: Path, names: Sequence[str], files: Sequence[Path] = ()) -> None:
        if not names:
            raise ValueError(f"{path} ({self.kind}) holds no images: give another")
        self.path, self.names, self.files = path, names, files or (path,)
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
        return digest_of([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in self.files])


class SequentialSource(Source):
    """Images that can only be read one after another, in the order of `names`, from one or several parts."""

    knows_headers = False  # whether `header_of` need not read the image

    def __init__(
        self, path: Path, names: Sequence[str], files: Sequence[Path] = (), counts: Sequence[int] = ()
    ) -> None:
        super().__init__(path, names, files)
        self.counts = counts or [len(names)]  # images in each part

    @abstractmethod
    def part(self, number: int) -> Iterator[Callable[[], Content]]:
        """Functions that read the images of a part, in order. Each is called, if at all, before the next is taken."""

    def stream(self, indices: Iterable[int]) -> Iterator[tuple[int, Content | ValueError]]:
        """The images of ascending `indices`, read from front to back; an error takes the place of a broken image."""
        wanted, start = iter(indices), 0
        i = next(wanted, None)
        for part, count in enumerate(self.counts):
            end = start + count
            readers = self.part(part) if i is not None and i < end else iter(())
            for place, read in enumerate(readers, start):
                if place == i:
                    yield i, self._content(i, read)
                    i = next(wanted, None)
                if i is None or i >= end:
                    break
            start = end

    def _content(self, index: int, read: Callable[[], Content]) -> Content | ValueError:
        try:
            return read()
        except RefusedError:
            raise
        except Exception as error:  # decoders raise nearly anything
            return ValueError(f"{self.names[index]} in {self.path} cannot be read: {reason(error)}")

    def read(self, index: int) -> Content:
        content = next(self.stream([index]))[1]
        if isinstance(content, ValueError):
            raise content
        return content


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
    numbers = map(int, indices)
    read = source.stream(numbers) if isinstance(source, SequentialSource) else ((i, None) for i in numbers)
    return ((i, source.names[i], content) for i, content in read)


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


def digest_of(facts: object) -> str:
    """A digest of what `repr` shows."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def needing(package: str, what: str) -> None:
    """Import a package that only `what` needs. ValueError says how to get it."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ValueError(f"reading {what} needs the package {package}: pip install {package}") from error
