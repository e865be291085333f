"""Video files: their frames, all of them or every n-th. What FFmpeg reads, by PyAV."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imaging.opening import RefusedError, check_file, parsing, reason
from imaging.picture import LARGEST_SOURCE, Header
from imaging.sources.source import Content, SequentialSource, identity_of, needing
from system.text import printable

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".mts", ".3gp")
TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


class VideoSource(SequentialSource):
    """Frames in the order of the files and of time. They are decoded once, front to back; a count of the packets, which
    costs little, tells beforehand how many there will be."""

    kind = "video"

    def __init__(self, path: Path, files: Sequence[Path], every: int) -> None:
        self.files, self.every = tuple(files), every
        self._counts = [-(-_packets(file) // every) for file in self.files]
        self._ends = np.cumsum(self._counts).tolist()
        super().__init__(path, _Frames(self.files, self._ends, every))
        sizes = {_size(file) for file in self.files}
        if len(sizes) == 1:
            self.header = Header(*sizes.pop(), "RGB")

    def stream(self, indices: Iterable[int]) -> Iterator[tuple[int, Content | ValueError]]:
        wanted = iter(indices)
        i, start = next(wanted, None), 0
        for file, end in zip(self.files, self._ends, strict=True):
            frames = self._frames(file, start, end) if i is not None and i < end else iter(())
            for place, content in frames:
                if place == i:
                    yield i, _made(content)
                    i = next(wanted, None)
                if i is None:
                    return
            start = end

    def _frames(self, file: Path, start: int, end: int) -> Iterator[tuple[int, Any]]:
        """Exactly `end - start` frames as functions that make the picture; errors in place of what is not there."""
        place = start
        try:
            for ordinal, frame in enumerate(_decoded(file)):
                if ordinal % self.every == 0 and place < end:
                    yield place, lambda frame=frame: _upright(frame)
                    place += 1
            reason = "the video has fewer frames than it says"
        except ValueError as error:
            reason = str(error)
        for missing in range(place, end):
            yield missing, ValueError(f"{self.names[missing]} cannot be decoded: {reason}")

    def identity(self) -> str:
        return identity_of(self.files)


class _Frames(Sequence[str]):
    """Names of frames: the file's, and the number of the frame in it."""

    def __init__(self, files: tuple[Path, ...], ends: list[int], every: int) -> None:
        self.files, self.ends, self.every = files, ends, every

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        place = int(np.searchsorted(self.ends, index, side="right"))
        first = self.ends[place - 1] if place else 0
        return f"{printable(self.files[place].name)}/frame{(index - first) * self.every:08d}"


def open_video(path: Path, every: int = 1) -> VideoSource:
    """A video file, or those of a folder."""
    files = video_files(path) if path.is_dir() else [path]
    return VideoSource(path, files, every)


def video_files(folder: Path) -> list[Path]:
    """The videos that lie in a folder, not in its sub-folders."""
    return sorted(file for file in folder.iterdir() if is_video(file) and file.is_file() and file.name[0] != ".")


def is_video(file: Path) -> bool:
    """Whether a file is called like a video."""
    return file.suffix.lower() in SUFFIXES


def _opened(file: Path) -> Any:
    with needing("av", "videos"):
        import av
    with parsing(file, "a video that can be read", "convert it, or give another"):
        check_file(file)
        # FFmpeg takes a name with a colon for the address of a server, and a playlist may hold such addresses.
        container = av.open(f"file:{file.absolute()}", options={"protocol_whitelist": "file"})
        if not container.streams.video:
            container.close()
            raise RefusedError(f"{printable(str(file))} has no pictures in it, only sound: give another")
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
    """The frames. ValueError in the place from which on they cannot be decoded."""
    with _opened(file) as container, _damage():
        yield from container.decode(container.streams.video[0])


def _upright(frame: Any) -> Image.Image:
    if frame.width * frame.height > LARGEST_SOURCE:
        raise RefusedError(f"frames of {frame.width}x{frame.height} are too large: make them smaller")
    image: Image.Image = frame.to_image()
    turn = round(getattr(frame, "rotation", 0) or 0) % 360
    return image.transpose(TURNS[turn]) if turn in TURNS else image


def _made(content: Any) -> Content | ValueError:
    try:
        made: Content | ValueError = content() if callable(content) else content
    except ValueError as error:
        return error
    return made


@contextmanager
def _damage() -> Iterator[None]:
    """Turns the library's errors into a ValueError in one sentence."""
    try:
        yield
    except RefusedError:
        raise
    except Exception as error:
        raise ValueError(reason(error)) from error
