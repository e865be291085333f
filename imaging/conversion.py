"""Convert images of any kind to a data set of one size and one mode."""

import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from PIL import __version__ as pillow_version
from pydantic import BaseModel, ConfigDict, Field, InstanceOf

from imaging import png
from imaging.dataset import choose
from imaging.deep import Span
from imaging.deep import note as note_on_span
from imaging.fitting import Filter, Fitting, Transform
from imaging.labelfile import SUFFIXES, read_label_file
from imaging.labels import UNUSED, Labels, from_folders, without
from imaging.parallel import ordered
from imaging.setwriter import ArchiveWriter, ShardWriter, is_shard_dest
from imaging.sizes import spell
from imaging.sources.recognition import open_source
from imaging.sources.source import Job, Source, Work, jobs, picture
from imaging.survey import Seen, Track, common_mode, common_span, digest, nothing_left, survey
from imaging.workfile import Done, WorkFile, pending, work_file
from system.resources import cores

TWINS = 20  # pairs of equal images that are named
FORMAT = 2  # of a work file
CHUNK_BYTES, LARGEST_CHUNK = 2**22, 32  # pixels, and images, that a process works on at a time


Side = Annotated[int, Field(ge=1, le=2**16)]


@dataclass(frozen=True)
class ConversionOptions:
    """How images are converted."""

    size: tuple[int, int] | None = None  # (height, width) of the result; None if all images have one size already
    transform: Transform = "center-crop"
    filter: Filter = "lanczos"
    labels: str = "auto"  # from the format or dataset.json; or "none", "folders", or the path of a CSV or JSON file
    max_images: int = 0  # 0 uses all
    duplicates: Literal["report", "drop", "keep"] = "report"  # "keep" does not look for them
    every: int = 1  # n-th frame of a video
    shard_size: int = 0  # images in each shard of x-%06d.tar; 0 takes the default


@dataclass
class ConversionReport:
    """What a conversion did. `broken` maps the images left out to the reason; `enlarged` counts those scaled up.

    `duplicates` counts the images with the pixels of an earlier one, `conflicting` those of them with another label;
    `twins` are the first pairs (image, earlier image). `resumed` counts the images that an interrupted run had done.
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


class SettledConversion(BaseModel):
    """What must be known before the first image is written. Names may have bytes that are not UTF-8."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fit: tuple[Side, Side]  # (height, width) of the images
    canvas: tuple[Side, Side]  # with the bars around them
    mode: Literal["L", "RGB", "RGBA"]
    broken: dict[InstanceOf[str], InstanceOf[str]]  # image -> reason
    span: Span | None  # black and white of images with more than 8 bits; None if there are no such images


def convert(
    source: str | Path,
    dest: str | Path,
    options: ConversionOptions = ConversionOptions(),
    workers: int = 0,
    restart: bool = False,
    track: Track = lambda items, total, label: items,
    tell: Callable[[str], None] = lambda text: None,
) -> ConversionReport:
    """Write the images of a source to `dest`, all of one size and mode.

    The bytes written depend only on the source and the options. An interrupted conversion leaves its work in a file
    beside `dest`, and the next call continues it. Broken images are left out. `dest` is replaced atomically.

    Args:
        source: anything that `open_source` takes.
        dest: a ZIP, a folder, or shards such as x-%06d.tar.
        options: size, labels and so on.
        workers: processes; 0 uses all cores.
        restart: do not continue an interrupted conversion.
        track: shows progress.
        tell: is given a sentence if an interrupted conversion is continued.

    ValueError or FileNotFoundError, in one sentence, if there is nothing to write or something does not fit.
    """
    dest = Path(dest)
    _check(dest, options, restart)
    opened = open_source(source, options.every)
    taken = take(opened, options.labels)
    chosen = choose(len(opened.names), options.max_images)
    workers = workers or cores()
    with work_file(dest, _plan(opened, taken, options), restart) as work:
        if work.get("settled") is None:
            work.set("settled", _settle(opened, chosen, options, workers, track).model_dump())
        with work.reading():
            settled = SettledConversion.model_validate(work.get("settled"))
        book = _Book(opened, taken, _begun(opened, settled, taken.of(chosen).note, options), options.duplicates)
        report = book.report
        usable = [i for i in chosen if opened.names[i] not in report.broken] if report.broken else chosen
        for done in work.rows(with_data=False):
            with work.reading():
                book.enter(done)
        report.resumed = book.entered
        if report.resumed:
            tell(f"continuing an interrupted run: {report.resumed} of {len(usable)} images are done")
        todo = usable[report.resumed :]
        making = _Making(opened, Fitting(settled.fit, options.transform, options.filter), report.mode, settled.span)
        with closing(ordered(making, jobs(opened, todo), workers, _chunk(report))) as made:
            for done in track(made, len(todo), "writing"):
                work.append(book.enter(done))
        if not report.written:
            raise nothing_left(opened, report.broken)
        work.commit()
        _write(dest, work, opened, taken, options, track, report.written)
    return report


def _check(dest: Path, options: ConversionOptions, restart: bool) -> None:
    """Raise ValueError for options that do not fit one another or `dest`, before anything is read."""
    if options.size is not None:
        Fitting(options.size, options.transform, options.filter)
    elif options.transform != "center-crop":
        raise ValueError(f"--transform {options.transform} needs a target size: add --resolution, such as 256x256")
    if is_shard_dest(str(dest)):
        writer = ShardWriter(dest, options.shard_size)
        if restart or not pending(dest):  # what an interrupted run moved there already is looked at in the end
            writer.check_vacant()
    elif options.shard_size:
        raise ValueError(f"--shard-size needs a shard pattern for --dest (e.g. x-%06d.tar), not {dest}")


def take(source: Source, choice: str) -> Labels:
    """The labels of all images: "auto" their own, "none", "folders", or a file's. ValueError says what is wrong."""
    if choice == "auto":
        return source.labels()
    if choice == "none":
        return without(len(source.names), UNUSED)
    if choice == "folders":
        return from_folders(source.path, source.names)
    if not choice.lower().endswith(SUFFIXES):
        raise ValueError(
            f"--labels {choice}: expected auto, none, folders or a file that ends in {', '.join(SUFFIXES)}"
        )
    return read_label_file(Path(choice), source.names)


def _write(
    dest: Path, work: WorkFile, source: Source, taken: Labels, options: ConversionOptions, track: Track, count: int
) -> None:
    """Write the finished images in the form of `dest`."""
    shards = is_shard_dest(str(dest))
    with ShardWriter(dest, options.shard_size, continues=True) if shards else ArchiveWriter(dest) as writer:
        written = (done for done in work.rows(with_data=True) if done.data is not None)
        for done in track(written, count, "packing"):
            label = int(taken.values[done.number]) if taken.class_names else None
            writer.append(done.data, label, source.names[done.number])
        if taken.class_names:
            writer.about["class_names"] = taken.class_names


class _Making(Work):
    """Makes the PNG file of an image."""

    def __init__(self, source: Source, fitting: Fitting, mode: str, span: Span | None) -> None:
        super().__init__(source)
        self.fitting, self.mode, self.span = fitting, mode, span

    def __call__(self, job: Job) -> Done:
        try:
            image = picture(self.content(job), job[1], self.mode, self.fitting.size, self.span)
        except ValueError as error:
            return Done(job[0], reason=str(error))
        return Done(job[0], png.encode(self.fitting(image)), digest(image), self.fitting.enlarges(*image.size))


class _Book:
    """Keeps the report, and knows which pixels have been seen."""

    def __init__(self, source: Source, taken: Labels, report: ConversionReport, duplicates: str) -> None:
        self.source, self.taken, self.report = source, taken, report
        self.seen = None if duplicates == "keep" else Seen()
        self.entered = 0

    def enter(self, done: Done) -> Done:
        """Count an image of this run or an earlier one. Returns it as it is to be kept: without `data` if dropped."""
        self.entered += 1
        report, name = self.report, self.source.names[done.number]
        if done.reason is not None:
            report.broken[name] = done.reason
            return done
        twin = self.seen.first(done.digest, done.number) if self.seen else None
        if twin is not None:
            report.duplicates += 1
            report.conflicting += int(self.taken.values[done.number] != self.taken.values[twin])
            if len(report.twins) < TWINS:
                report.twins.append((name, self.source.names[twin]))
            if report.dropped:
                return done._replace(data=None)
        report.written += 1
        report.enlarged += done.enlarged
        return done


def _plan(source: Source, taken: Labels, options: ConversionOptions) -> dict[str, Any]:
    """All that the result depends on."""
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
        "set of labels": hashlib.sha256(taken.values.tobytes() + repr(taken.class_names).encode()).hexdigest(),
        "version of Pillow": pillow_version,
        "version of this program": FORMAT,
    }


def _settle(
    source: Source, chosen: np.ndarray, options: ConversionOptions, workers: int, track: Track
) -> SettledConversion:
    found = survey(source, chosen, workers, track)
    fitting = Fitting(options.size or found.one_size(), options.transform, options.filter)
    mode = common_mode(source, found, workers, track)
    span = common_span(source, found, workers, track)
    return SettledConversion(fit=fitting.size, canvas=fitting.canvas, mode=mode, broken=found.broken, span=span)


def _begun(
    source: Source, settled: SettledConversion, labels_note: str, options: ConversionOptions
) -> ConversionReport:
    """The report before the first image."""
    note = note_on_span(settled.span, many=True) if settled.span else ""
    notes, dropped = (*source.notes, *filter(None, [note])), options.duplicates == "drop"
    return ConversionReport(
        *settled.canvas, settled.mode, labels_note, broken=dict(settled.broken), dropped=dropped, notes=notes
    )


def _chunk(report: ConversionReport) -> int:
    return min(max(CHUNK_BYTES // (report.height * report.width * len(report.mode)), 1), LARGEST_CHUNK)
