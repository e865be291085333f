"""A look at all images of a source before the first is converted: which size and mode they have in common."""

import io
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imaging.parallel import ordered
from imaging.picture import Header, Span, read_range, span_of
from imaging.sizes import advise, spell
from imaging.sources.source import Content, Job, SequentialSource, Source, Work, header, jobs, picture
from imaging.transforms import is_opaque, richest

Track = Callable[[Iterable[Any], int, str], Iterable[Any]]  # (items, how many, label) -> the same, showing progress
HEADERS, PICTURES = 64, 16  # that a process looks at in one go


@dataclass
class Survey:
    """What all headers say: modes, sizes, and the first image of each size.

    Of single images only numbers are kept: of those with an alpha channel, and of those with more than 8 bits.
    """

    modes: set[str] = field(default_factory=set)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    first: dict[tuple[int, int], str] = field(default_factory=dict)
    alphas: "array[int]" = field(default_factory=lambda: array("q"))
    deeps: "array[int]" = field(default_factory=lambda: array("q"))
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
    """Looks at an image. A broken one gives its error."""

    def __init__(self, source: Source, look: Callable[[Content, str], Any]) -> None:
        super().__init__(source)
        self.look = look

    def __call__(self, job: Job) -> Any:
        try:
            return self.look(self.content(job), job[1])
        except ValueError as error:
            return error


class _Heading(Work):
    """Reads the header of an image, or says why there is none."""

    def __call__(self, job: Job) -> tuple[int, Header | str]:
        index, name, content = job
        try:
            if content is None and self.source is not None:
                return index, self.source.header_of(index)
            return index, header(self.content(job), name)
        except ValueError as error:
            return index, str(error)


def survey(source: Source, chosen: np.ndarray, workers: int, track: Track) -> Survey:
    """Look at the headers of the `chosen` images, unless the format guarantees that all are equal."""
    found = Survey()
    if source.header is not None:
        found.enter(int(chosen[0]), source.names[int(chosen[0])], source.header)
        found.alphas = array("q", chosen.tolist() if source.header.mode == "RGBA" else [])
        return found
    for index, said in track(_headers(source, chosen, workers), len(chosen), "checking"):
        if isinstance(said, str):
            found.broken[source.names[index]] = said
        else:
            found.enter(index, source.names[index], said)
    if not found.modes:
        raise nothing_left(source, found.broken)
    return found


def _headers(source: Source, chosen: np.ndarray, workers: int) -> Iterable[tuple[int, Header | str]]:
    heading = _Heading(source)
    if isinstance(source, SequentialSource) and source.knows_headers:
        heading.source = source
        return (heading((int(i), source.names[i], None)) for i in chosen)
    return ordered(heading, jobs(source, chosen), workers, HEADERS if heading.source else PICTURES)


def common_mode(source: Source, found: Survey, workers: int, track: Track) -> str:
    """The richest mode of all. Transparency counts only if some pixel uses it: many programs save it needlessly."""
    if "RGBA" in found.modes:
        seen = ordered(_Looking(source, _is_transparent), jobs(source, found.alphas), workers, PICTURES)
        if not any(each is True for each in track(seen, len(found.alphas), "looking for transparency")):
            return richest(found.modes - {"RGBA"} | {"RGB"})
    return richest(found.modes)


def common_span(source: Source, found: Survey, workers: int, track: Track) -> Span | None:
    """Black and white of all images with more than 8 bits; None if there are no such images."""
    seen = ordered(_Looking(source, _range), jobs(source, found.deeps), workers, PICTURES)
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
