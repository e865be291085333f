"""A look at all pictures of a source before the first is converted: which size and mode they have together."""

import io
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imaging.deep import Span, span_of
from imaging.parallel import ordered
from imaging.picture import Header, read_range
from imaging.sizes import advise, spell
from imaging.sources.jobs import Job, Work, content_of, jobs
from imaging.sources.source import SequentialSource, Source, header, picture
from imaging.transforms import is_opaque, richest

Track = Callable[[Iterable[Any], int, str], Iterable[Any]]  # (items, how many, label) -> the same, showing progress
HEADERS, PICTURES = 64, 16  # a process works on so many of them at a time


@dataclass
class Survey:
    """What the headers say together. Of single pictures it keeps the numbers of those with an alpha channel, of those
    with more than 8 bits, the first of each size, and why those without a header are `broken`."""

    modes: set[str] = field(default_factory=set)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    first: dict[tuple[int, int], str] = field(default_factory=dict)
    alphas: "array[int]" = field(default_factory=lambda: array("q"))
    deeps: "array[int]" = field(default_factory=lambda: array("q"))
    broken: dict[str, str] = field(default_factory=dict)

    def enter(self, index: int, name: str, header: Header) -> None:
        """Takes note of a picture."""
        size = (header.height, header.width)
        self.modes.add(header.mode)
        if header.mode == "RGBA":
            self.alphas.append(index)
        if header.deep:
            self.deeps.append(index)
        self.sizes[size] += 1
        self.first.setdefault(size, name)

    def one_size(self) -> tuple[int, int]:
        """The (height, width) that all share. ValueError names two when there are more."""
        if len(self.sizes) > 1:
            examples = " and ".join(f"{spell(*each)} ({name})" for each, name in list(self.first.items())[:2])
            advice = advise(self.sizes)
            flag = f"--resolution, such as {advice} {advice.note}"
            raise ValueError(f"the images have different sizes, such as {examples}: give {flag}")
        return next(iter(self.sizes))


class _Heading(Work):
    """Reads the header of a picture, or says why there is none."""

    def __call__(self, job: Job) -> tuple[int, Header | str]:
        index, name, content = job
        try:
            if content is None and self.source is not None:
                return index, self.source.header_of(index)
            return index, header(content_of(self.source, job), name)
        except ValueError as error:
            return index, str(error)


class _Transparency(Work):
    def __call__(self, job: Job) -> bool:
        try:
            return not is_opaque(picture(content_of(self.source, job), job[1], "RGBA"))
        except ValueError:
            return False  # reported when it is its turn to be written


class _Range(Work):
    def __call__(self, job: Job) -> tuple[float, float] | None:
        try:
            content = content_of(self.source, job)
            return read_range(io.BytesIO(content), job[1]) if isinstance(content, bytes) else None
        except ValueError:
            return None  # reported when it is its turn to be written


def survey(source: Source, chosen: np.ndarray, workers: int, track: Track) -> Survey:
    """Looks at the headers of the `chosen` pictures, where the format does not say the same of all."""
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
    together = PICTURES if isinstance(source, SequentialSource) else HEADERS
    return ordered(heading, jobs(source, chosen), workers, together)


def common_mode(source: Source, found: Survey, workers: int, track: Track) -> str:
    """The richest mode of all. Transparency counts only where some pixel uses it: many tools write it unasked."""
    modes = found.modes
    if "RGBA" in modes:
        seen = ordered(_Transparency(source), jobs(source, found.alphas), workers, PICTURES)
        if not any(track(seen, len(found.alphas), "looking for transparency")):
            modes = modes - {"RGBA"} | {"RGB"}
    return richest(modes)


def common_span(source: Source, found: Survey, workers: int, track: Track) -> Span | None:
    """What is black and white in all pictures of more than 8 bits; None when there are none."""
    seen = ordered(_Range(source), jobs(source, found.deeps), workers, PICTURES)
    ranges = [each for each in track(seen, len(found.deeps), "looking for black and white") if each is not None]
    return span_of(ranges) if ranges else None


def nothing_left(source: Source, broken: dict[str, str]) -> ValueError:
    """The error of a source without a single picture that can be used."""
    reason = next(iter(broken.values()))
    which = (
        f"none of the {len(broken)} images of {source.path} can"
        if len(broken) > 1
        else f"the one image of {source.path} cannot"
    )
    return ValueError(f"{which} be used ({reason}): give other images")
