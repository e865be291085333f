"""Video files: their frames, all of them or every n-th. PyAV (FFmpeg) reads them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imaging.opening import RefusedError, check_file, parsing, reason
from imaging.picture import LARGEST_SOURCE, Header
from imaging.sources.source import Content, SequentialSource, identity_of
from system.text import printable

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".mts", ".3gp")
TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


class VideoSource(SequentialSource):
    """Frames in the order of the files and of time. They are decoded once; counting packets first is cheap."""

    kind = "video"

    def __init__(self, path: Path, files: Sequence[Path], every: int) -> None:
        self.files, self.every = tuple(files), every
        self._ends = np.cumsum([-(-_packets(file) // every) for file in self.files]).tolist()
        super().__init__(path, _Frames(self.files, self._ends, every))
        sizes = {_size(file) for file in self.files}
        if len(sizes) == 1:
            self.header = Header(*sizes.pop(), "RGB")

    def stream(self, indices: Iterable[int]) -> Iterator[tuple[int, Content | ValueError]]:
        wanted = iter(indices)
        i, start = next(wanted, None), 0
        for file, end in zip(self.files, self._ends, strict=True):
            if i is not None and i < end:
                for place, frame in self._frames(file, start, end):
                    if place == i:
                        yield i, frame
                        i = next(wanted, None)
                    if i is None:
                        return
            start = end

    def _frames(self, file: Path, start: int, end: int) -> Iterator[tuple[int, Content | ValueError]]:
        """Exactly `end - start` decoded frames, or errors in place of missing ones."""
        place = start
        try:
            for frame in islice(_decoded(file), 0, (end - start) * self.every, self.every):
                yield place, _upright(frame)
                place += 1
            why = "the video has fewer frames than it says"
        except ValueError as error:
            why = str(error)
        for missing in range(place, end):
            yield missing, ValueError(f"{self.names[missing]} cannot be decoded: {why}")

    def identity(self) -> str:
        return identity_of(self.files)


class _Frames(Sequence[str]):
    """Names of frames: the file's, and the number of the frame in it."""

    def __init__(self, files: tuple[Path, ...], ends: list[int], every: int) -> None:
        self.files, self.ends, self.every = files, ends, every

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        place = int(np.searchsorted(self.ends, index, side="right"))
        first = self.ends[place - 1] if place else 0
        return f"{printable(self.files[place].name)}/frame{(index - first) * self.every:08d}"


def open_video(path: Path, every: int = 1) -> VideoSource:
    """A video file, or those of a folder."""
    return VideoSource(path, video_files(path) if path.is_dir() else [path], every)


def video_files(folder: Path) -> list[Path]:
    """The videos in a folder, without sub-folders."""
    return sorted(file for file in folder.iterdir() if is_video(file) and file.is_file() and file.name[0] != ".")


def is_video(file: Path) -> bool:
    """Whether a file is named like a video."""
    return file.suffix.lower() in SUFFIXES


def _opened(file: Path) -> Any:
    import av  # takes a quarter of a second

    with parsing(file, "a video that can be read", "convert it, or give another"):
        check_file(file)
        # FFmpeg takes a name with a colon for the address of a server, and playlists may hold such addresses.
        container = av.open(f"file:{file.absolute()}", options={"protocol_whitelist": "file"})
        if not container.streams.video:
            container.close()
            raise RefusedError(f"{printable(str(file))} has only sound, no images: give another")
    container.streams.video[0].thread_type = "AUTO"
    return container


def _packets(file: Path) -> int:
    with _opened(file) as container, _damage():
        return sum(packet.size > 0 for packet in container.demux(container.streams.video[0]))


def _size(file: Path) -> tuple[int, int]:
    """(width, height) of the first frame, upright."""
    for frame in _decoded(file):
        return _upright(frame).size
    raise RefusedError(f"{printable(str(file))} has no frame that can be decoded: give another")


def _decoded(file: Path) -> Iterator[Any]:
    """The frames. ValueError where decoding fails."""
    with _opened(file) as container, _damage():
        yield from container.decode(container.streams.video[0])


def _upright(frame: Any) -> Image.Image:
    if frame.width * frame.height > LARGEST_SOURCE:
        raise RefusedError(f"frames of {frame.width}x{frame.height} are too large: make them smaller")
    image: Image.Image = frame.to_image()
    turn = round(getattr(frame, "rotation", 0) or 0) % 360
    return image.transpose(TURNS[turn]) if turn in TURNS else image


@contextmanager
def _damage() -> Iterator[None]:
    """Turn the library's errors into a ValueError in one sentence."""
    try:
        yield
    except RefusedError:
        raise
    except Exception as error:
        raise ValueError(reason(error)) from error
