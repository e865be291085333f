"""Which format a path has: by the beginning of a file, or by the names in a folder."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from imaging.kinds import SOURCE_SUFFIXES, UNREAD, conversion_of, ending
from imaging.opening import RefusedError, open_file, packer_of, parsing, unpacking
from imaging.remedies import conversion
from imaging.shards.index import is_pattern
from imaging.sources import lsun, mnist, parquet, tfrecords, video
from imaging.sources.archives import open_pictures
from imaging.sources.cifar import is_cifar, open_cifar
from imaging.sources.shards import ShardSource
from imaging.sources.source import Source
from imaging.sources.tar import TAR_MAGIC, TarSource, first_names
from system.untrusted import mistaken_content

KNOWN = (
    "a folder, ZIP or tar file of images, WebDataset shards, CIFAR, MNIST (idx), LSUN (lmdb), TFRecords of the "
    "official data sets, Hugging Face parquet or a video"
)
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".txt", ".xlsx")


class SourceFormat(NamedTuple):
    """A format in words, and what opens a path of it."""

    words: str
    open: Callable[[Path], Source]


FOLDER, ZIP = SourceFormat("a folder", open_pictures), SourceFormat("a ZIP", open_pictures)
TAR = SourceFormat("a tar file", TarSource)
SHARD = SourceFormat("a tar of WebDataset", lambda path: ShardSource(str(path)))
CIFAR = SourceFormat("CIFAR", open_cifar)
MNIST = SourceFormat("MNIST", mnist.open_mnist)
LSUN = SourceFormat("an LSUN database", lsun.LsunSource)
RECORDS = SourceFormat("TFRecords", tfrecords.open_tfrecords)
PARQUET = SourceFormat("Hugging Face parquet", parquet.open_parquet)
VIDEO = SourceFormat("a video", video.open_video)


def open_source(path: str | Path, every: int = 1) -> Source:
    """The images at `path`, in any known format; every n-th frame of videos.

    FileNotFoundError if nothing is there; ValueError if the format is unknown or damaged, or `every` does not apply.
    """
    source = ShardSource(str(path)) if is_pattern(str(path)) else _open(Path(path), every)
    if every != 1 and not isinstance(source, video.VideoSource):
        raise ValueError(f"--every picks frames of a video, but {source.path} is {source.kind}: omit it")
    return source


def _open(path: Path, every: int) -> Source:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give a ZIP or a folder of images")
    try:
        found = recognize(path)
        return video.open_video(path, every) if found is VIDEO else found.open(path)
    except PermissionError as error:
        raise ValueError(f"no permission to read {error.filename or path}: change it, or give another path") from error


def unfit_for_training(path: Path) -> str:
    """A sentence on a path that is neither a ZIP nor a folder of images: what it is, and what makes a set of it.

    "" for a ZIP or folder; ValueError for what is no source of images at all.
    """
    found = recognize(path)
    if found in (ZIP, FOLDER):
        return ""
    command = conversion(str(path), "256x256", sized=True)
    return f"{path} is {found.words}, but training reads folders, ZIPs and shards: make a set of it with `{command}`"


def recognize(path: Path) -> SourceFormat:
    """The format of what is at `path`. RefusedError for anything else than a source of images."""
    return _folder(path) if path.is_dir() else _file(path)


def _folder(path: Path) -> SourceFormat:
    names = {entry.name for entry in path.iterdir()}
    endings = {ending(name) for name in names}
    if "data.mdb" in names:
        return LSUN
    if ".tfrecords" in endings:
        return RECORDS
    if is_cifar(names) and not (path / "train").is_dir():
        return CIFAR
    if any(mnist.NAME.fullmatch(name) for name in names):
        return MNIST
    if endings.isdisjoint(SOURCE_SUFFIXES):
        if parquet.parquet_files(path):
            return PARQUET
        if video.video_files(path):
            return VIDEO
    return FOLDER


def _file(path: Path) -> SourceFormat:
    end = ending(path.name)
    with open_file(path) as file:
        start = file.read(1024)
    if start.startswith(b"PK") or end == ".zip":
        return ZIP
    if packed := packer_of(start):
        with parsing(path, "a complete compressed file", "copy or make it again"), unpacking(path) as file:
            start = file.read(1024)
    if start.startswith(mnist.IMAGES):
        return MNIST
    if start[257:].startswith(TAR_MAGIC):
        first = first_names(path)
        if not packed and any(name.endswith(".cls") for name in first):
            return SHARD
        parts = {part for name in first for part in PurePosixPath(name).parts}
        return CIFAR if parts & {"cifar-10-batches-py", "cifar-100-python"} else TAR
    if start.startswith(b"PAR1"):
        return PARQUET
    if end in (".tfrecords", ".mdb"):
        return RECORDS if end == ".tfrecords" else LSUN
    if video.is_video(path) or (start[4:8] == b"ftyp" and end not in (*SOURCE_SUFFIXES, *UNREAD)):
        return VIDEO
    raise RefusedError(f"{path} {_refusal(end, start)}")


def _refusal(end: str, start: bytes) -> str:
    """A sentence about a file without images: its kind, and what to do."""
    if end in SOURCE_SUFFIXES:
        return "is a single image: give the folder it is in, since a set has many images"
    if end in UNREAD:
        return f"is a single image: give a folder of images; {conversion_of(end)}"
    if what := mistaken_content(start):
        return f"is not a set of images, but {what}"
    if end in TABLES:
        return (
            "is a table or text: give the folder of the images to dataset_tool.py, and labels in a CSV or JSON file "
            "to its --labels"
        )
    return f"is of an unknown format: give {KNOWN}"
