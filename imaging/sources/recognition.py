"""Which format a path has: by the beginning of a file, or by the names in a folder."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from imaging.filenames import SOURCE_SUFFIXES, UNREAD, conversion_of, ending
from imaging.opening import RefusedError, open_file, packer_of, parsing, unpacking
from imaging.shards.index import is_pattern
from imaging.sizes import conversion
from imaging.sources.archives import TAR_MAGIC, ArchiveSource, ShardSource, TarSource, first_names
from imaging.sources.classic import IDX, IMAGES, is_cifar, open_cifar, open_mnist
from imaging.sources.databases import LsunSource, ParquetSource, parquet_files
from imaging.sources.source import Source
from imaging.sources.tfrecords import RecordSource
from imaging.sources.video import SUFFIXES, VideoSource, video_files
from system.untrusted import mistaken_content

KNOWN = (
    "a folder, ZIP or tar file of images, WebDataset shards, CIFAR, MNIST (idx), LSUN (lmdb), TFRecords of the "
    "official data sets, Hugging Face parquet or a video"
)
FOLDER, ZIP, VIDEO = "a folder", "a ZIP", "a video"
OPENERS: dict[str, Callable[[Path], Source]] = {  # by the format's name
    FOLDER: ArchiveSource,
    ZIP: ArchiveSource,
    "a tar file": TarSource,
    "a tar of WebDataset": ShardSource,
    "CIFAR": open_cifar,
    "MNIST": open_mnist,
    "an LSUN database": LsunSource,
    "TFRecords": RecordSource,
    "Hugging Face parquet": ParquetSource,
}


def open_source(path: str | Path, every: int = 1) -> Source:
    """The images at `path`, in any known format; every n-th frame of videos.

    FileNotFoundError if nothing is there; ValueError if the format is unknown or damaged, or `every` does not apply.
    """
    source = ShardSource(path) if is_pattern(str(path)) else _open(Path(path), every)
    if every != 1 and not isinstance(source, VideoSource):
        raise ValueError(f"--every picks frames of a video, but {source.path} is {source.kind}: omit it")
    return source


def _open(path: Path, every: int) -> Source:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give a ZIP or a folder of images")
    try:
        found = recognize(path)
        return VideoSource(path, every) if found == VIDEO else OPENERS[found](path)
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
    return f"{path} is {found}, but training reads folders, ZIPs and shards: make a set of it with `{command}`"


def recognize(path: Path) -> str:
    """The format of what is at `path`: a key of OPENERS, or VIDEO. RefusedError if it is no source of images."""
    return _folder(path) if path.is_dir() else _file(path)


def _folder(path: Path) -> str:
    names = {entry.name for entry in path.iterdir()}
    endings = {ending(name) for name in names}
    if "data.mdb" in names:
        return "an LSUN database"
    if ".tfrecords" in endings:
        return "TFRecords"
    if is_cifar(names) and not (path / "train").is_dir():
        return "CIFAR"
    if any(IDX.fullmatch(name) for name in names):
        return "MNIST"
    if endings.isdisjoint(SOURCE_SUFFIXES):
        if parquet_files(path):
            return "Hugging Face parquet"
        if video_files(path):
            return VIDEO
    return FOLDER


def _file(path: Path) -> str:
    end = ending(path.name)
    with open_file(path) as file:
        start = file.read(1024)
    if start.startswith(b"PK") or end == ".zip":
        return ZIP
    if packed := packer_of(start):
        with parsing(path, "a complete compressed file", "copy or make it again"), unpacking(path) as file:
            start = file.read(1024)
    if start.startswith(IMAGES):
        return "MNIST"
    if start[257:].startswith(TAR_MAGIC):
        first = first_names(path)
        if not packed and any(name.endswith(".cls") for name in first):
            return "a tar of WebDataset"
        parts = {part for name in first for part in PurePosixPath(name).parts}
        return "CIFAR" if parts & {"cifar-10-batches-py", "cifar-100-python"} else "a tar file"
    if start.startswith(b"PAR1"):
        return "Hugging Face parquet"
    if end in (".tfrecords", ".mdb"):
        return "TFRecords" if end == ".tfrecords" else "an LSUN database"
    if end in SUFFIXES or (start[4:8] == b"ftyp" and end not in (*SOURCE_SUFFIXES, *UNREAD)):
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
    return f"is of an unknown format: give {KNOWN} (and labels in a CSV or JSON file to --labels)"
