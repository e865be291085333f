"""Films of pictures: mp4, gif or webp by the ending of the file, or a folder of numbered PNG files.

A film appears whole or not at all. Frames are taken one by one, and no film has to fit in memory: a gif and a webp,
whose beginning depends on all of it, lie on the disk meanwhile.
"""

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from imaging.gif import write_gif
from imaging.grid import save_image
from imaging.reel import Reel, reeled
from imaging.transforms import on_white
from system.files import beside, open_replacing

ENDINGS = (".mp4", ".gif", ".webp")
LONGEST_SIDE = {".mp4": 16384, ".gif": 65535, ".webp": 16383, "": 2**31 - 1}  # pixels; of x264 and of the formats
HIGHEST_FPS = {".mp4": 240, ".gif": 50, ".webp": 240, "": 240}  # programs slow a faster gif down to 10
H264_QUALITY = 16  # constant rate factor of x264: near what the eye cannot tell from the original
WEBP_QUALITY = 90  # of 100
FRAME = "frame{:06d}.png"
BT709 = 1  # in FFmpeg's lists of primaries, transfer curves and matrices


def check_film(path: Path, flag: str, size: tuple[int, int] | None = None) -> None:
    """Makes sure, before anything is computed, that `path` can be written as a film.

    Args:
        path: as in `write_film`.
        flag: the option to name in an error.
        size: (width, height) of the frames, if it is known.

    Raises:
        ValueError: when its ending is none of a film, its folder has other files than frames, nothing here writes mp4,
            or the format takes no frames so large.
    """
    ending = path.suffix.lower()
    if ending not in ("", *ENDINGS):
        raise ValueError(
            f"{flag} {path}: a film ends in {', '.join(ENDINGS)}, or is a folder of frames whose name has no ending"
        )
    if ending == ".mp4":
        try:
            import av  # noqa: F401
        except ImportError as error:
            raise ValueError(f"{flag} {path}: writing mp4 needs PyAV: pip install av, or take .gif or .webp") from error
    if not ending:
        _check_frames_folder(path, flag)
    if size is not None and max(size) > LONGEST_SIDE[ending]:
        raise ValueError(
            f"{flag} {path}: {ending[1:]} takes frames of at most {LONGEST_SIDE[ending]} pixels a side, and these have "
            f"{size[0]}x{size[1]}: make them smaller, or write a folder of frames"
        )


def check_rate(path: Path, flag: str, fps: float) -> None:
    """Raises ValueError when a film at `path` cannot show so many pictures a second; `flag` is the option to name."""
    ending = path.suffix.lower()
    if not 0 < fps <= HIGHEST_FPS[ending]:
        kind = ending[1:] or "a film"
        raise ValueError(f"{flag} {fps:g}: {kind} takes more than 0 and up to {HIGHEST_FPS[ending]} frames a second")


def write_film(path: Path, frames: Iterable[Image.Image], fps: float = 30.0) -> int:
    """Writes a film and returns the number of its frames.

    Args:
        path: `film.mp4`, `film.gif` (256 colours), `film.webp`, or a folder for `frame000000.png`, ...; what was there
            is replaced, a folder only if there is nothing but frames in it.
        frames: pictures of one size, at least one: grey, RGB or RGBA. A transparent one is laid on white in an mp4.
        fps: pictures a second, above 0; a gif shows at most 50, the others 240.

    Raises:
        ValueError: when there are no frames, or one is of another size than the first, or as `check_film`.
    """
    pictures = iter(frames)
    first = next(pictures, None)
    if first is None:
        raise ValueError(f"{path}: a film needs at least one frame")
    check_film(path, "film", first.size)
    check_rate(path, "fps", fps)
    film = _Film(chain([first], pictures), first, path)
    if not path.suffix:
        _write_frames(path, film)
        return film.count
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_replacing(path) as file:
        if path.suffix.lower() == ".mp4":
            _write_mp4(file, film, first.size, fps)
        else:
            write = write_gif if path.suffix.lower() == ".gif" else _write_webp
            with reeled(film.with_colours(), path.parent) as reel:
                write(file, reel, fps)
    return film.count


class _Film:
    """The frames as they come, each checked and counted."""

    def __init__(self, frames: Iterable[Image.Image], first: Image.Image, path: Path) -> None:
        self.count, self._frames, self._size, self._path = 0, frames, first.size, path
        self._mode = "RGBA" if first.mode == "RGBA" else "RGB"

    def __iter__(self) -> Iterator[Image.Image]:
        for frame in self._frames:
            if frame.size != self._size:
                (width, height), (wanted_width, wanted_height) = frame.size, self._size
                raise ValueError(
                    f"{self._path}: frame {self.count} has {width}x{height} pixels and the first one "
                    f"{wanted_width}x{wanted_height}: a film's frames are of one size"
                )
            self.count += 1
            yield frame

    def with_colours(self) -> Iterator[Image.Image]:
        """The frames, all RGB, or all RGBA if the first is transparent."""
        for frame in self:
            yield frame.convert("RGBA") if self._mode == "RGBA" else _opaque(frame)


def _check_frames_folder(path: Path, flag: str) -> None:
    if not path.exists():
        return
    if not path.is_dir():
        raise ValueError(f"{flag} {path}: a folder of frames has to go there, and it is a file: choose another path")
    others = sorted(file.name for file in path.iterdir() if not re.fullmatch(r"frame\d{6,}\.png", file.name))
    if others:
        raise ValueError(
            f"{flag} {path}: a folder of frames goes there, and it holds something else ({others[0]}), "
            f"which is not for us to remove: choose another path"
        )


def _write_frames(path: Path, frames: Iterable[Image.Image]) -> None:
    """All frames in a folder that takes the place of an earlier film's, of which nothing is left."""
    with beside(path) as shed:
        new, old = shed / "new", shed / "old"
        for number, frame in enumerate(frames):
            save_image(frame, new / FRAME.format(number))
        if path.exists():
            path.replace(old)
        try:
            new.replace(path)
        except OSError:
            if old.exists():
                old.replace(path)
            raise


def _write_mp4(file: IO[bytes], frames: Iterable[Image.Image], size: tuple[int, int], fps: float) -> None:
    """H.264 with colours at half the resolution, which every player shows; it wants even sides.

    The colours are those of high-definition television and the file says so: without, players guess by its size.
    """
    import av  # takes a quarter of a second, which only films of this kind shall wait for

    width, height = size
    # By its name, for the index is moved to the front at the end, so that a browser starts before it has all.
    with av.open(file.name, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        stream.options = {"crf": str(H264_QUALITY)}
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = av.video.reformatter.ColorRange.MPEG
        for number, frame in enumerate(frames):
            pixels = np.asarray(_opaque(frame))  # [H, W, 3]
            pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            coloured = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            coloured = coloured.reformat(
                format="yuv420p", dst_colorspace="ITU709", src_color_range="JPEG", dst_color_range="MPEG"
            )
            coloured.pts = number
            container.mux(stream.encode(coloured))
        container.mux(stream.encode())


def _write_webp(file: IO[bytes], reel: Reel, fps: float) -> None:
    following = [_Following(reel)] if len(reel) > 1 else []
    # Pillow adds the durations up before it rounds them to thousandths of a second.
    options: dict[str, Any] = {"quality": WEBP_QUALITY, "method": 4, "duration": 1000 / fps, "loop": 0}
    reel[0].save(file, format="WEBP", save_all=True, append_images=following, **options)


class _Following:
    """The frames after a reel's first, as Pillow looks at a picture of many frames: one at a time."""

    def __init__(self, reel: Reel) -> None:
        self._reel, self.n_frames = reel, len(reel) - 1
        self.seek(0)

    def seek(self, number: int) -> None:
        """Goes to a frame; everything else that is asked is asked of that one."""
        self._frame = self._reel[number + 1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._frame, name)


def _opaque(frame: Image.Image) -> Image.Image:
    return on_white(frame) if frame.mode == "RGBA" else frame.convert("RGB")
