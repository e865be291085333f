"""A look at all images of a source before the first is converted: which size and mode they have in common, and which
images are equal.
"""

import hashlib
import io
from array import array
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from imaging.parallel import ordered
from imaging.picture import Header, Span, read_range, span_of
from imaging.sizes import advise, spell
from imaging.sources.source import Content, Job, SequentialSource, Source, Work, header, jobs, picture
from imaging.transforms import is_opaque, richest

Track = Callable[[Iterable[Any], int, str], Iterable[Any]]  # (items, how many, label) -> the same, showing progress
TOGETHER = 16  # images that a process looks at in one go
RECENT = 2**16  # digests that are kept in a dictionary before they are sorted in


@dataclass
class Survey:
    """What all headers say. Of single images only numbers are kept."""

    modes: set[str] = field(default_factory=set)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    first: dict[tuple[int, int], str] = field(default_factory=dict)  # image of each size
    alphas: "array[int]" = field(default_factory=lambda: array("q"))  # images with an alpha channel
    deeps: "array[int]" = field(default_factory=lambda: array("q"))  # images with more than 8 bits
    broken: dict[str, str] = field(default_factory=dict)  # image -> why it has no header

    def enter(self, index: int, name: str, header: Header) -> None:
        """Count an image."""
        size = (header.height, header.width)
        self.modes.add(header.mode)
        if header.mode == "RGBA":
            self.alphas.append(index)
        if header.deep:
            self.deeps.append(index)
        self.sizes[size] += 1
        self.first.setdefault(size, name)

    def one_size(self) -> tuple[int, int]:
        """The (height, width) of all images. ValueError names two sizes if they differ."""
        if len(self.sizes) > 1:
            examples = " and ".join(f"{spell(*each)} ({name})" for each, name in list(self.first.items())[:2])
            advice = advise(self.sizes)
            flag = f"--resolution, such as {advice} {advice.note}"
            raise ValueError(f"the images have different sizes, such as {examples}: give {flag}")
        return next(iter(self.sizes))


class _Looking(Work):
    """What `look` finds in an image. A broken image gives its error."""

    def __init__(self, source: Source, look: Callable[[Content, str], Any]) -> None:
        super().__init__(source)
        self.look = look

    def __call__(self, job: Job) -> Any:
        try:
            if self.look is header and job[2] is None and self.source is not None:
                return self.source.header_of(job[0])
            return self.look(self.content(job), job[1])
        except ValueError as error:
            return error


def looked_at(
    source: Source, indices: Iterable[int], look: Callable[[Content, str], Any], workers: int
) -> Generator[Any, None, None]:
    """What `look` returns for the content and name of each image, in order; of a broken image the ValueError."""
    return ordered(_Looking(source, look), jobs(source, indices), workers, TOGETHER)


def survey(source: Source, chosen: np.ndarray, workers: int, track: Track) -> Survey:
    """Look at the headers of the `chosen` images, unless the format guarantees that all are equal."""
    found, indices = Survey(), chosen.tolist()
    if source.header is not None:
        found.enter(indices[0], source.names[indices[0]], source.header)
        found.alphas = array("q", indices if source.header.mode == "RGBA" else [])
        return found
    headers: Iterable[Any] = looked_at(source, indices, header, workers)
    if isinstance(source, SequentialSource) and source.knows_headers:
        look = _Looking(source, header)
        look.source = source
        headers = (look((index, source.names[index], None)) for index in indices)
    for index, said in zip(indices, track(headers, len(indices), "checking"), strict=True):
        if isinstance(said, ValueError):
            found.broken[source.names[index]] = str(said)
        else:
            found.enter(index, source.names[index], said)
    if not found.modes:
        raise nothing_left(source, found.broken)
    return found


def common_mode(source: Source, found: Survey, workers: int, track: Track) -> str:
    """The richest mode of all. Transparency counts only if some pixel uses it: many programs save it needlessly."""
    if "RGBA" in found.modes:
        seen = looked_at(source, found.alphas, _is_transparent, workers)
        if not any(each is True for each in track(seen, len(found.alphas), "looking for transparency")):
            return richest(found.modes - {"RGBA"} | {"RGB"})
    return richest(found.modes)


def common_span(source: Source, found: Survey, workers: int, track: Track) -> Span | None:
    """Black and white of all images with more than 8 bits; None if there are no such images."""
    seen = looked_at(source, found.deeps, _range, workers)
    ranges = [each for each in track(seen, len(found.deeps), "looking for black and white") if isinstance(each, tuple)]
    return span_of(ranges) if ranges else None


def _is_transparent(content: Content, name: str) -> bool:
    return not is_opaque(picture(content, name, "RGBA"))


def _range(content: Content, name: str) -> tuple[float, float] | None:
    return read_range(io.BytesIO(content), name) if isinstance(content, bytes) else None


def nothing_left(source: Source, broken: dict[str, str]) -> ValueError:
    """The error of a source without a single usable image."""
    why = f"{len(broken)} broken: {next(iter(broken.values()))}"
    return ValueError(f"no image of {source.path} can be used ({why}): give other images")


def digest(image: Image.Image) -> int:
    """64-bit digest of the pixels of an image (L, RGB, RGBA). Gray equals RGB of equal channels, opaque RGBA RGB.

    Ten million different images contain two of equal digest with a probability of 3 in a million.
    """
    if image.mode == "L" or (image.mode == "RGBA" and is_opaque(image)):
        image = image.convert("RGB")
    state = hashlib.blake2b(f"{image.mode} {image.size}".encode(), digest_size=8)
    state.update(image.tobytes())
    return int.from_bytes(state.digest(), "little")


class Seen:
    """Which image first had a digest. Takes 16 bytes an image: all but the recent ones are two sorted columns."""

    def __init__(self) -> None:
        self._digests, self._indices = np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
        self._recent: dict[int, int] = {}

    def first(self, digest: int, index: int) -> int | None:
        """The image that first had this digest; None if there was none, and `index` is kept as the first."""
        if digest in self._recent:
            return self._recent[digest]
        place = int(np.searchsorted(self._digests, np.uint64(digest)))
        if place < len(self._digests) and int(self._digests[place]) == digest:
            return int(self._indices[place])
        self._recent[digest] = index
        if len(self._recent) >= RECENT:
            digests = np.append(self._digests, np.array(list(self._recent), dtype=np.uint64))
            indices = np.append(self._indices, list(self._recent.values()))
            order = np.argsort(digests)
            self._digests, self._indices, self._recent = digests[order], indices[order], {}
        return None
