"""Which format a path has: by the beginning of a file, or by the names in a folder."""

from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from imaging.kinds import SOURCE_SUFFIXES, UNREAD, by_content
from imaging.opening import LARGEST_FILE, RefusedError, open_file, parsing
from imaging.packing import packer_of, unpacking
from imaging.remedies import conversion
from imaging.shards.pattern import is_pattern
from imaging.sources import lsun, mnist, parquet, tfrecords, video
from imaging.sources.archives import open_pictures
from imaging.sources.cifar import is_cifar, open_cifar
from imaging.sources.shards import ShardSource, has_labels_beside
from imaging.sources.source import Source
from imaging.sources.tar import TAR_MAGIC, open_tar, opened

FORMATS = (
    "a folder, ZIP or tar file of images, WebDataset shards, CIFAR, MNIST (idx), LSUN (lmdb), TFRecords of the "
    "official data sets, Hugging Face parquet or a video"
)
MOST_BEFORE_CIFAR = 3  # members of a tar that are looked at
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".txt", ".xlsx")


class Format(NamedTuple):
    """What is at a path, in words, and what opens it; without `open`, `advice` says what to give instead."""

    words: str
    open: Callable[[], Source] | None
    advice: str = ""


def open_source(path: str | Path, every: int = 1) -> Source:
    """The images at `path`, of whatever format; every n-th frame of videos.

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
        found = recognize(path, every)
        if found.open is None:
            raise ValueError(f"{path} is {found.words}: {found.advice}")
        return found.open()
    except PermissionError as error:
        raise ValueError(f"no permission to read {error.filename or path}: change it, or give another path") from error


def unfit_for_training(path: Path) -> str:
    """A sentence on a path that is neither a ZIP nor a folder of images: what it is, and what makes a set of it.

    "" for a ZIP or folder.
    """
    found = recognize(path)
    if found.open is None:
        return f"{path} is {found.words}: {found.advice}"
    if found.words in ("a ZIP", "a folder"):
        return ""
    command = conversion(str(path), "256x256", sized=True)
    return f"{path} is {found.words}, but training reads folders, ZIPs and shards: make a set of it with `{command}`"


def recognize(path: Path, every: int = 1) -> Format:
    """The format of what is at `path`, by its names or its beginning. RefusedError for pipes and devices."""
    return _folder(path, every) if path.is_dir() else _file(path, every)


def _folder(path: Path, every: int) -> Format:
    names = {entry.name for entry in path.iterdir()}
    endings = {PurePosixPath(name).suffix.lower() for name in names}
    if "data.mdb" in names:
        return Format("an LSUN database", partial(lsun.LsunSource, path))
    if ".tfrecords" in endings:
        return Format("a folder of TFRecords", partial(tfrecords.open_tfrecords, path))
    if is_cifar(names) and not (path / "train").is_dir():
        return Format("CIFAR", partial(open_cifar, path))
    if any(mnist.NAME.fullmatch(name) for name in names):
        return Format("MNIST", partial(mnist.open_mnist, path))
    if endings.isdisjoint(SOURCE_SUFFIXES):
        if parquet.parquet_files(path):
            return Format("Hugging Face parquet", partial(parquet.open_parquet, path))
        if video.video_files(path):
            return Format("a folder of videos", partial(video.open_video, path, every))
    return Format("a folder", partial(open_pictures, path))


def _file(path: Path, every: int) -> Format:
    ending = path.suffix.lower()
    with open_file(path) as file:
        start = file.read(512)
    if start.startswith(b"PK") or ending == ".zip":
        return Format("a ZIP", partial(open_pictures, path))
    if packed := packer_of(start):
        with parsing(path, "a complete compressed file", "copy or make it again"), unpacking(path) as file:
            start = file.read(512)
    if start.startswith(mnist.IMAGES):
        return Format("MNIST", partial(mnist.open_mnist, path))
    if start[257:].startswith(TAR_MAGIC):
        if not packed and has_labels_beside(path):
            return Format("a tar of WebDataset", lambda: ShardSource(str(path)))
        cifar = _packs_cifar(path)
        return Format("CIFAR", partial(open_cifar, path)) if cifar else Format("a tar file", partial(open_tar, path))
    if start.startswith(b"PAR1"):
        return Format("Hugging Face parquet", partial(parquet.open_parquet, path))
    if ending == ".tfrecords":
        return Format("a TFRecords file", partial(tfrecords.open_tfrecords, path))
    if ending == ".mdb":
        return Format("an LSUN database", partial(lsun.LsunSource, path))
    if ending in SOURCE_SUFFIXES:
        return Format("a single image", None, "give the folder it is in, since a set has many images")
    if kind := UNREAD.get(ending):
        return Format(f"a single image ({kind.name})", None, f"give a folder of images; {kind.advice}")
    if video.is_video(path) or _looks_like_video(start):
        return Format("a video", partial(video.open_video, path, every))
    if why := by_content(start):
        return Format("not a set of images", None, why)
    if ending in TABLES:
        advice = "give the folder of the images to dataset_tool.py, and labels in a CSV or JSON file to its --labels"
        return Format("a table or text", None, advice)
    return Format("of an unknown format", None, f"give {FORMATS}")


def _looks_like_video(start: bytes) -> bool:
    """MP4 and QuickTime, Matroska and WebM, AVI."""
    is_mp4 = start[4:8] == b"ftyp" and by_content(start) == "it is a video"
    return is_mp4 or start[:4] == b"\x1a\x45\xdf\xa3" or (start[:4] == b"RIFF" and start[8:12] == b"AVI ")


def _packs_cifar(path: Path) -> bool:
    names: set[str] = set()
    try:
        with opened(path) as (_, members):
            for member in islice(members, MOST_BEFORE_CIFAR):
                names |= set(PurePosixPath(member.name).parts)
                if member.size > LARGEST_FILE:
                    break  # unpacking it takes long
    except RefusedError:
        return False  # opening the tar reports what is wrong
    return bool(names & {"cifar-10-batches-py", "cifar-100-python"})
