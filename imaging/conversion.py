"""Any pictures -> an archive of one size and one mode, which training can read."""

import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import __version__ as pillow_version

from imaging import png
from imaging.dataset import choose
from imaging.deep import Span
from imaging.deep import note as note_on_span
from imaging.duplicates import Seen, digest
from imaging.fitting import Filter, Fitting, Transform
from imaging.labelfile import read_label_file
from imaging.labels import UNUSED, Labels, from_folders, without
from imaging.parallel import ordered
from imaging.partial import PartialArchive
from imaging.shards.layout import is_shard_dest
from imaging.shards.partial import PartialShards
from imaging.sizes import spell
from imaging.sources.jobs import Job, Work, content_of, jobs
from imaging.sources.recognition import open_source
from imaging.sources.source import Source, picture
from imaging.survey import Track, common_mode, common_span, nothing_left, survey
from imaging.writing import Outcome, Writer
from system.machine import cores

TWINS = 20  # pairs of equal pictures that are named
FORMAT = 1  # of what an interrupted run leaves
CHUNK_BYTES, LARGEST_CHUNK = 2**22, 32  # what a process works on at a time


@dataclass(frozen=True)
class Options:
    """What becomes of the pictures.

    `size` is (height, width); without it they must share a valid one already. `labels` is "auto" (those of the format,
    or of dataset.json), "none", "folders" or the path of a CSV or JSON file. `duplicates`: pictures with the pixels of
    an earlier one are counted ("report"), left out ("drop") or not looked for ("keep"). `shard_size`: pictures
    in each shard that is written, where `dest` leaves that open; 0 takes the usual number.
    """

    size: tuple[int, int] | None = None
    transform: Transform = "center-crop"
    filter: Filter = "lanczos"
    labels: str = "auto"
    max_images: int = 0
    duplicates: Literal["report", "drop", "keep"] = "report"
    every: int = 1
    shard_size: int = 0


@dataclass
class Report:
    """What a conversion did. `broken` maps the pictures left out to the reason; `enlarged` counts those scaled up.

    `duplicates` counts the pictures with the pixels of an earlier one, `conflicting` those among them with another
    label; `twins` are the first pairs (picture, earlier one). `resumed`: so many an interrupted run had dealt with.
    """

    height: int
    width: int
    mode: str
    labels_note: str
    written: int = 0
    enlarged: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    duplicates: int = 0
    twins: list[tuple[str, str]] = field(default_factory=list)
    dropped: bool = False
    conflicting: int = 0
    resumed: int = 0
    notes: tuple[str, ...] = ()


def convert(
    source: str | Path,
    dest: str | Path,
    options: Options = Options(),
    workers: int = 0,
    restart: bool = False,
    track: Track = lambda items, total, label: items,
    tell: Callable[[str], None] = lambda text: None,
) -> Report:
    """Write the pictures of a source to `dest`, all of one size and mode, by `workers` processes (0: all cores).

    Equal sources and options give equal bytes, however many the workers, and however often the work was interrupted:
    what was done remains beside `dest`, and the next call goes on there. Broken pictures are left out and reported.
    `dest` is replaced at the very end. ValueError or FileNotFoundError when there is nothing to write.
    """
    if options.size is not None:  # before the pictures are looked at, which may take minutes
        Fitting(options.size, options.transform, options.filter)
    elif options.transform != "center-crop":
        raise ValueError(f"--transform {options.transform} needs a size to aim at: add --resolution, such as 256x256")
    opened = open_source(source, options.every)
    taken = take(opened, options.labels)
    chosen = choose(len(opened.names), options.max_images)
    writer = _open_writer(Path(dest), _plan(opened, taken, options), options, restart)
    writer.names = opened.names
    resumes = writer.settled is not None
    workers = workers or cores()
    if writer.settled is None:
        writer.settled = _settle(opened, chosen, options, workers, track)
    report = _begun(opened, writer.settled, taken.of(chosen).note, options)
    usable = _without_broken(chosen, opened, report.broken)
    fitting = Fitting(tuple(writer.settled["fit"]), options.transform, options.filter)
    making = _Making(opened, fitting, report.mode, _span_in(writer.settled))
    with writer:
        book = _Book(opened, taken, report, options.duplicates)
        for outcome in writer.earlier() if resumes else ():
            book.enter(outcome)
        report.resumed = book.entered
        if resumes:
            tell(f"going on after {report.resumed} of {len(usable)} images, which an interrupted run has dealt with")
        todo = usable[report.resumed :]
        with closing(ordered(making, jobs(opened, todo), workers, _chunk(report))) as made:
            for result in track(made, len(todo), "writing"):
                book.enter(outcome := book.judge(result))
                writer.note(outcome, None if outcome.twin is not None and report.dropped else result.data)
        if not report.written:
            raise nothing_left(opened, report.broken)
        if taken.class_names:
            writer.about["class_names"] = taken.class_names
    return report


def _open_writer(dest: Path, plan: dict[str, Any], options: Options, restart: bool) -> Writer:
    """The writer for the form of `dest`. Nothing is written before its `with` block."""
    if is_shard_dest(str(dest)):
        return PartialShards(dest, plan, options.shard_size, restart)
    return PartialArchive(dest, plan, restart)


def take(source: Source, choice: str) -> Labels:
    """The labels of all pictures: "auto" their own, "none", "folders", or a file's. ValueError says what is wrong."""
    if choice == "auto":
        return source.labels()
    if choice == "none":
        return without(len(source.names), UNUSED)
    if choice == "folders":
        return from_folders(source.path, source.names)
    return read_label_file(Path(choice), source.names)


class _Made(NamedTuple):
    """A picture as it is written, or why there is none."""

    number: int
    data: bytes | None = None
    digest: int | None = None
    enlarged: bool = False
    reason: str | None = None


class _Making(Work):
    def __init__(self, source: Source, fitting: Fitting, mode: str, span: Span | None) -> None:
        super().__init__(source)
        self.fitting, self.mode, self.span = fitting, mode, span

    def __call__(self, job: Job) -> _Made:
        try:
            image = picture(content_of(self.source, job), job[1], self.mode, self.fitting.size, self.span)
        except ValueError as error:
            return _Made(job[0], reason=str(error))
        enlarged = self.fitting.enlarges(*image.size)
        return _Made(job[0], png.encode(self.fitting(image)), digest(image), enlarged)


class _Book:
    """Keeps the report, and knows which pixels have been seen."""

    def __init__(self, source: Source, taken: Labels, report: Report, duplicates: str) -> None:
        self.source, self.taken, self.report = source, taken, report
        self.seen = None if duplicates == "keep" else Seen()
        self.entered = 0

    def judge(self, made: _Made) -> Outcome:
        """What becomes of a picture that was made."""
        label = int(self.taken.values[made.number]) if self.taken.class_names else None
        if made.reason is not None or made.digest is None:
            return Outcome(made.number, reason=made.reason)
        twin = self.seen.first(made.digest, made.number) if self.seen else None
        return Outcome(made.number, label, made.digest, made.enlarged, twin=twin)

    def enter(self, outcome: Outcome) -> None:
        """Counts what became of a picture, in this run or an earlier one."""
        self.entered += 1
        report, name = self.report, self.source.names[outcome.number]
        if outcome.reason is not None:
            report.broken[name] = outcome.reason
            return
        if self.seen and outcome.digest is not None:
            self.seen.first(outcome.digest, outcome.number)
        if outcome.twin is not None:
            report.duplicates += 1
            if len(report.twins) < TWINS:
                report.twins.append((name, self.source.names[outcome.twin]))
            report.conflicting += outcome.label != self._label(outcome.twin)
        if outcome.twin is None or not report.dropped:
            report.written += 1
            report.enlarged += outcome.enlarged

    def _label(self, index: int) -> int | None:
        return int(self.taken.values[index]) if self.taken.class_names else None


def _plan(source: Source, taken: Labels, options: Options) -> dict[str, Any]:
    """All that the result depends on."""
    labels = hashlib.sha256(taken.values.tobytes() + repr(taken.class_names).encode()).hexdigest()
    return {
        "options": {
            "--source": str(source.path.resolve()),
            "--resolution": spell(*options.size) if options.size else "not given",
            "--transform": options.transform,
            "--resize-filter": options.filter,
            "--labels": options.labels,
            "--max-images": options.max_images,
            "--duplicates": options.duplicates,
            "--every": options.every,
            "--shard-size": options.shard_size,
        },
        "source": source.identity(),
        "labels": labels,
        "Pillow": pillow_version,
        "format": FORMAT,
    }


def _begun(source: Source, settled: dict[str, Any], labels_note: str, options: Options) -> Report:
    height, width = settled["canvas"]
    dropped = options.duplicates == "drop"
    span = _span_in(settled)
    notes = (*source.notes, *filter(None, [note_on_span(span, many=True) if span else ""]))
    return Report(
        height, width, settled["mode"], labels_note, broken=dict(settled["broken"]), dropped=dropped, notes=notes
    )


def _settle(source: Source, chosen: np.ndarray, options: Options, workers: int, track: Track) -> dict[str, Any]:
    """What must be known before the first picture is written, in a form that can be kept as JSON."""
    found = survey(source, chosen, workers, track)
    fitting = Fitting(options.size or found.one_size(), options.transform, options.filter)
    mode = common_mode(source, found, workers, track)
    span = common_span(source, found, workers, track)
    return {"fit": fitting.size, "canvas": fitting.canvas, "mode": mode, "broken": found.broken, "span": span}


def _span_in(settled: dict[str, Any]) -> Span | None:
    """What is black and white in pictures of more than 8 bits; None when there are none."""
    return Span(*settled["span"]) if settled.get("span") else None


def _without_broken(chosen: np.ndarray, source: Source, broken: dict[str, str]) -> np.ndarray:
    if not broken:
        return chosen
    return np.array([i for i in chosen if source.names[i] not in broken], dtype=np.int64)


def _chunk(report: Report) -> int:
    return min(max(CHUNK_BYTES // (report.height * report.width * len(report.mode)), 1), LARGEST_CHUNK)
