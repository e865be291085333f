"""Video files: their frames, all of them or every n-th. PyAV (FFmpeg) reads them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from PIL import Image

from imaging.filenames import ending
from imaging.opening import RefusedError, check_file, parsing, reason
from imaging.picture import LARGEST_SOURCE, Header
from imaging.sources.source import SequentialSource
from system.text import printable

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".mts", ".3gp")
TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


class VideoSource(SequentialSource):
    """Frames in the order of the files and of time. They are decoded once; counting packets first is cheap."""

    kind = "video"

    def __init__(self, path: Path, every: int = 1) -> None:
        files = video_files(path) if path.is_dir() else [path]
        self.every = every
        counts = [-(-_packets(file) // every) for file in files]
        names = [
            f"{printable(file.name)}/frame{i * every:08d}"
            for file, count in zip(files, counts, strict=True)
            for i in range(count)
        ]
        super().__init__(path, names, files, counts)
        sizes = {_size(file) for file in files}
        if len(sizes) == 1:
            self.header = Header(*sizes.pop(), "RGB")

    def part(self, number: int) -> Iterator[Callable[[], Image.Image]]:
        why = "the video has fewer frames than it says"
        try:
            for frame in islice(_decoded(self.files[number]), 0, None, self.every):
                yield partial(_upright, frame)
        except ValueError as error:
            why = str(error)
        while True:
            yield partial(_fail, why)


def frame_rate(file: Path) -> float:
    """Frames a second."""
    with _damage(), _opened(file) as container:
        return float(container.streams.video[0].average_rate or 25)


def _fail(why: str) -> NoReturn:
    raise ValueError(why)


def video_files(folder: Path) -> list[Path]:
    """The videos in a folder, without sub-folders."""
    files = (file for file in folder.iterdir() if ending(file.name) in SUFFIXES and file.name[0] != ".")
    return sorted(file for file in files if file.is_file())


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
    with _damage(), _opened(file) as container:
        return sum(packet.size > 0 for packet in container.demux(container.streams.video[0]))


def _decoded(file: Path) -> Iterator[Any]:
    """The frames. ValueError where decoding fails."""
    with _damage(), _opened(file) as container:
        yield from container.decode(container.streams.video[0])


def _size(file: Path) -> tuple[int, int]:
    """(width, height) of the first frame, upright."""
    for frame in _decoded(file):
        return _upright(frame).size
    raise RefusedError(f"{printable(str(file))} has no frame that can be decoded: give another")


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
    except (RefusedError, OSError):
        raise
    except Exception as error:
        raise ValueError(reason(error)) from error
