"""Convert images of any kind to a data set of one size and one mode."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from PIL import __version__ as pillow_version
from pydantic import BaseModel, ConfigDict, Field, InstanceOf, TypeAdapter

from imaging import pixels
from imaging.dataset import choose
from imaging.labels import SUFFIXES, UNUSED, Labels, from_folders, read_label_file, without
from imaging.parallel import ordered
from imaging.parquetwriter import ParquetWriter, check_package, is_parquet_dest
from imaging.picture import Span
from imaging.setwriter import ArchiveWriter, ShardWriter, Writer, is_shard_dest
from imaging.sizes import spell
from imaging.sources.recognition import open_source
from imaging.sources.source import Job, Source, Work, digest_of, jobs, picture
from imaging.survey import Seen, Track, common_mode, common_span, digest, nothing_left, survey
from imaging.transforms import Filter, Fitting, Transform
from imaging.workfile import Done, WorkFile, pending, work_file
from system.resources import cores

TWINS = 20  # pairs of equal images that are named
FORMAT = 3  # of a work file
CHUNK_BYTES, LARGEST_CHUNK = 2**22, 32  # pixels, and images, that a process works on at a time

Side = Annotated[int, Field(ge=1, le=2**16)]


@dataclass(frozen=True)
class ConversionOptions:
    """How images are converted."""

    resolution: tuple[int, int] | None = None  # (height, width) of the result; None if all images have one size already
    transform: Transform = "center-crop"
    resize_filter: Filter = "lanczos"
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


SETTLED = TypeAdapter(SettledConversion)


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
    beside `dest` (x.zip, x.parquet, a folder, or shards such as x-%06d.tar), and the next call continues it unless
    `restart`, and tells so. Broken images are left out. `dest` is replaced atomically. 0 `workers` uses all cores.

    ValueError or FileNotFoundError, in one sentence, if there is nothing to write or something does not fit.
    """
    dest = Path(dest)
    _check(dest, options, restart)
    opened = open_source(source, options.every)
    taken = take(opened, options.labels)
    chosen = choose(len(opened.names), options.max_images)
    workers = workers or cores()

    with work_file(dest, _plan(opened, taken, options), restart) as work:
        settled = work.kept("settled", SETTLED, lambda: _settle(opened, chosen, options, workers, track))
        book = _Book(opened, taken, settled, taken.of(chosen).note, options)
        report = book.report
        usable = [i for i in chosen if opened.names[i] not in report.broken] if report.broken else chosen
        for done in work.rows(with_data=False):
            if report.resumed >= len(usable) or done.number != usable[report.resumed]:
                raise work.damaged()
            book.enter(done)
            report.resumed += 1
        if report.resumed:
            tell(f"continuing an interrupted run: {report.resumed} of {len(usable)} images are done")
        todo = usable[report.resumed :]
        making = _Making(opened, Fitting(settled.fit, options.transform, options.resize_filter), settled)
        chunk = min(max(CHUNK_BYTES // (report.height * report.width * len(report.mode)), 1), LARGEST_CHUNK)
        with closing(ordered(making, jobs(opened, todo), workers, chunk)) as made:
            for done in track(made, len(todo), "writing"):
                work.append(book.enter(done))
        if not report.written:
            raise nothing_left(opened, report.broken)
        work.commit()
        _write(dest, work, opened, taken, options, track, report.written)
    return report


def _check(dest: Path, options: ConversionOptions, restart: bool) -> None:
    """Raise ValueError for options that do not fit one another or `dest`, before anything is read."""
    if options.resolution is not None:
        Fitting(options.resolution, options.transform, options.resize_filter)
    elif options.transform != "center-crop":
        raise ValueError(f"--transform {options.transform} needs a target size: add --resolution, such as 256x256")
    if is_shard_dest(str(dest)):
        writer = ShardWriter(dest, options.shard_size)
        if restart or not pending(dest):  # what an interrupted run moved there already is looked at in the end
            writer.check_vacant()
    elif is_parquet_dest(dest):
        check_package()
    if options.shard_size and not is_shard_dest(str(dest)):
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


def _plan(source: Source, taken: Labels, options: ConversionOptions) -> dict[str, Any]:
    """All that the result depends on."""
    return {
        "version of this program": FORMAT,
        "--source": str(source.path.resolve()),
        **{f"--{name.replace('_', '-')}": value for name, value in vars(options).items()},
        "--resolution": spell(*options.resolution) if options.resolution else "not given",
        "source": source.identity(),
        "set of labels": digest_of((taken.values.tobytes(), taken.class_names)),
        "version of Pillow": pillow_version,
    }


def _settle(
    source: Source, chosen: np.ndarray, options: ConversionOptions, workers: int, track: Track
) -> SettledConversion:
    found = survey(source, chosen, workers, track)
    fitting = Fitting(options.resolution or found.one_size(), options.transform, options.resize_filter)
    mode = common_mode(source, found, workers, track)
    span = common_span(source, found, workers, track)
    return SettledConversion(fit=fitting.size, canvas=fitting.canvas, mode=mode, broken=found.broken, span=span)


def _write(
    dest: Path, work: WorkFile, source: Source, taken: Labels, options: ConversionOptions, track: Track, count: int
) -> None:
    """Write the finished images in the form of `dest`."""
    with _writer(dest, options.shard_size) as writer:
        if taken.class_names:
            writer.about["class_names"] = taken.class_names
        written = (done for done in work.rows(with_data=True) if done.data is not None)
        for done in track(written, count, "packing"):
            label = int(taken.values[done.number]) if taken.class_names else None
            writer.append(done.data, label, source.names[done.number])


def _writer(dest: Path, shard_size: int) -> Writer:
    if is_shard_dest(str(dest)):
        return ShardWriter(dest, shard_size, continues=True)
    return ParquetWriter(dest) if is_parquet_dest(dest) else ArchiveWriter(dest)


class _Making(Work):
    """Makes the PNG file of an image."""

    def __init__(self, source: Source, fitting: Fitting, settled: SettledConversion) -> None:
        super().__init__(source)
        self.fitting, self.mode, self.span = fitting, settled.mode, settled.span

    def __call__(self, job: Job) -> Done:
        try:
            image = picture(self.content(job), job[1], self.mode, self.fitting.size, self.span)
        except ValueError as error:
            return Done(job[0], reason=str(error))
        fitted = pixels.encode_png(self.fitting(image))
        return Done(job[0], fitted, digest(image), self.fitting.enlarges(*image.size))


class _Book:
    """Keeps the report, and knows which pixels have been seen."""

    def __init__(
        self, source: Source, taken: Labels, settled: SettledConversion, labels_note: str, options: ConversionOptions
    ) -> None:
        self.source, self.taken = source, taken
        self.seen = None if options.duplicates == "keep" else Seen()
        self.report = ConversionReport(*settled.canvas, settled.mode, labels_note, broken=dict(settled.broken))
        self.report.dropped = options.duplicates == "drop"
        note = settled.span.note(many=True) if settled.span else ""
        self.report.notes = (*source.notes, *filter(None, [note]))

    def enter(self, done: Done) -> Done:
        """Count an image of this run or an earlier one. Returns it as it is to be kept: without `data` if dropped."""
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
