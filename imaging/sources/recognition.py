"""Which format a path has: by what the file begins with, or by the names in the folder."""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from imaging.picture import SOURCE_SUFFIXES
from imaging.shards.pattern import is_pattern
from imaging.sources import lsun, mnist, parquet, tfrecords, video
from imaging.sources.archives import open_pictures
from imaging.sources.cifar import is_cifar, open_cifar
from imaging.sources.shards import ShardSource, has_labels_beside
from imaging.sources.source import Source
from imaging.sources.tar import DAMAGE, TAR_MAGIC, is_plain_tar, open_tar

FORMATS = (
    "a folder, ZIP or tar file of images, WebDataset shards, CIFAR, MNIST (idx), LSUN (lmdb), TFRecords of the "
    "official data sets, Hugging Face parquet or a video"
)
PACKERS: dict[bytes, Callable[[Path], object]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
MOST_BEFORE_CIFAR = 3  # members of a tar that are looked at


def open_source(path: str | Path, every: int = 1) -> Source:
    """The pictures at `path`, of whatever format; of videos every n-th frame.

    FileNotFoundError when nothing is there; ValueError when the format is none of `FORMATS`, when `every` does not
    apply, or when what is there is damaged.
    """
    if is_pattern(str(path)):
        return _only_videos(ShardSource(str(path)), every)
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give a ZIP or a folder of images")
    try:
        source = _folder(path, every) if path.is_dir() else _file(path, every)
    except PermissionError as error:
        raise ValueError(
            f"{error.filename or path} may not be read: change its permissions, or give another"
        ) from error
    return _only_videos(source, every)


def _only_videos(source: Source, every: int) -> Source:
    if every != 1 and not isinstance(source, video.VideoSource):
        raise ValueError(f"--every picks frames of a video, and {source.path} is {source.kind}: leave it out")
    return source


def _folder(path: Path, every: int) -> Source:
    names = {entry.name for entry in path.iterdir()}
    endings = {PurePosixPath(name).suffix.lower() for name in names}
    if "data.mdb" in names:
        return lsun.LsunSource(path)
    if ".tfrecords" in endings:
        return tfrecords.open_tfrecords(path)
    if is_cifar(names) and not (path / "train").is_dir():
        return open_cifar(path)
    if any(mnist.NAME.fullmatch(name) for name in names):
        return mnist.open_mnist(path)
    if endings.isdisjoint(SOURCE_SUFFIXES):
        if parquet.parquet_files(path):
            return parquet.open_parquet(path)
        if video.video_files(path):
            return video.open_video(path, every)
    return open_pictures(path)


def _file(path: Path, every: int) -> Source:
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(b"PK") or path.suffix.lower() == ".zip":
        return open_pictures(path)
    if any(start.startswith(magic) for magic in PACKERS):
        start = _unpacked(path, start)
    if start.startswith(mnist.IMAGES):
        return mnist.open_mnist(path)
    if start[257:].startswith(TAR_MAGIC):
        if is_plain_tar(path) and has_labels_beside(path):
            return ShardSource(str(path))
        return open_cifar(path) if _packs_cifar(path) else open_tar(path)
    if start.startswith(b"PAR1"):
        return parquet.open_parquet(path)
    if path.suffix.lower() == ".tfrecords":
        return tfrecords.open_tfrecords(path)
    if path.suffix.lower() == ".mdb":
        return lsun.LsunSource(path)
    if path.suffix.lower() in video.SUFFIXES or _looks_like_video(start):
        return video.open_video(path, every)
    if path.suffix.lower() in SOURCE_SUFFIXES:
        raise ValueError(f"{path} is a single file, and a set takes many: give the folder that it lies in")
    raise ValueError(f"{path} is in no format that is known: give {FORMATS}")


def _looks_like_video(start: bytes) -> bool:
    """MP4 and QuickTime, Matroska and WebM, AVI."""
    return (
        start[4:8] == b"ftyp" or start[:4] == b"\x1a\x45\xdf\xa3" or (start[:4] == b"RIFF" and start[8:12] == b"AVI ")
    )


def _unpacked(path: Path, start: bytes) -> bytes:
    opened = next(opener for magic, opener in PACKERS.items() if start.startswith(magic))
    try:
        with opened(path) as file:  # type: ignore[attr-defined]
            return bytes(file.read(512))
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path} is not a complete compressed file ({error}): copy or make it again") from error


def _packs_cifar(path: Path) -> bool:
    names: set[str] = set()
    try:
        with tarfile.open(path, "r|*") as tar:
            for _ in range(MOST_BEFORE_CIFAR):
                member = tar.next()
                names |= set(PurePosixPath(member.name).parts) if member else set()
    except DAMAGE:
        return False  # whoever opens it will say what is wrong
    return bool(names & {"cifar-10-batches-py", "cifar-100-python"})
