"""Films: mp4, gif or webp by the ending of the file, or a folder of numbered PNG files."""

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
from imaging.transforms import on_white
from system.files import beside, open_replacing, replacing

ENDINGS = (".mp4", ".gif", ".webp")
LONGEST_SIDE = {".mp4": 16384, ".gif": 65535, ".webp": 16383, "": 2**31 - 1}  # pixels; of x264 and of the formats
HIGHEST_FPS = {".mp4": 240, ".gif": 50, ".webp": 240, "": 240}  # viewers slow a faster gif down to 10
H264_QUALITY = 16  # constant rate factor of x264: hardly any visible loss
WEBP_QUALITY = 90  # of 100
MILLISECOND = Fraction(1, 1000)
FRAME = "frame{:06d}.png"
BT709 = 1  # in FFmpeg's lists of primaries, transfer curves and matrices


def check_film(path: Path, flag: str, size: tuple[int, int] | None = None) -> None:
    """Raise ValueError, with the option `flag`, if `path` cannot be a film of frames of `size` (width, height)."""
    ending = path.suffix.lower()
    if ending not in ("", *ENDINGS):
        raise ValueError(
            f"{flag} {path}: expected a film ({', '.join(ENDINGS)}), or a folder of frames whose name has no ending"
        )
    if not ending and path.exists():
        if not path.is_dir():
            raise ValueError(f"{flag} {path} is a file, expected a folder of frames: choose another path")
        others = sorted(file.name for file in path.iterdir() if not re.fullmatch(r"frame\d{6,}\.png", file.name))
        if others:
            raise ValueError(f"{flag} {path} holds other files than frames ({others[0]}): choose another path")
    if size is not None and max(size) > LONGEST_SIDE[ending]:
        raise ValueError(
            f"{flag} {path}: {ending[1:]} takes frames of at most {LONGEST_SIDE[ending]} pixels a side, not "
            f"{size[0]}x{size[1]}: make them smaller, or write a folder of frames"
        )


def check_rate(path: Path, flag: str, fps: float) -> None:
    """Raise ValueError, with the option `flag`, if a film at `path` cannot show so many frames a second."""
    ending = path.suffix.lower()
    if not 0 < fps <= HIGHEST_FPS[ending]:
        kind = ending[1:] or "a film"
        raise ValueError(f"{flag} {fps:g}: {kind} takes more than 0 and up to {HIGHEST_FPS[ending]} frames a second")


def write_film(path: Path, frames: Iterable[Image.Image], fps: float = 30.0) -> int:
    """Write a film, atomically, and return the number of its frames. Frames are taken one by one.

    Args:
        path: `film.mp4`, `film.gif` (256 colors), `film.webp`, or a folder for `frame000000.png`, ... An existing film
            is replaced, a folder only if it holds nothing but frames.
        frames: images of one size, at least one: gray, RGB or RGBA. In an mp4 transparent ones are laid on white.
        fps: frames a second, above 0; a gif shows at most 50, the others 240.

    ValueError if there are no frames, if their sizes differ, or as `check_film`.
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
        elif path.suffix.lower() == ".webp":
            _write_webp(file, film, first.size, fps)
        else:
            with beside(path) as folder:
                write_gif(file, film.in_color(), fps, folder)
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
                    f"{self._path}: frame {self.count} has {width}x{height} pixels, but the first one has "
                    f"{wanted_width}x{wanted_height}: give frames of one size"
                )
            self.count += 1
            yield frame

    def in_color(self) -> Iterator[Image.Image]:
        """The frames, all RGB, or all RGBA if the first is transparent."""
        for frame in self:
            yield frame.convert("RGBA") if self._mode == "RGBA" else _opaque(frame)


def _write_frames(path: Path, frames: Iterable[Image.Image]) -> None:
    """Write all frames to a folder that replaces an earlier film's."""
    with beside(path) as shed, replacing(path, previous=shed / "old") as new:
        for number, frame in enumerate(frames):
            save_image(frame, new / FRAME.format(number))


def _write_mp4(file: IO[bytes], frames: Iterable[Image.Image], size: tuple[int, int], fps: float) -> None:
    """H.264 with colors at half the resolution, which every player shows; sides become even.

    The colors are marked as those of high-definition television: otherwise players guess by the size.
    """
    import av  # takes a quarter of a second

    width, height = size
    # By its name, since the index is moved to the front at the end, so that a browser can start early.
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
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                format="yuv420p", dst_colorspace="ITU709", src_color_range="JPEG", dst_color_range="MPEG"
            )
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _write_webp(file: IO[bytes], frames: Iterable[Image.Image], size: tuple[int, int], fps: float) -> None:
    import av

    with av.open(file.name, "w", format="webp", options={"loop": "0"}) as container:
        stream: Any = container.add_stream("libwebp_anim", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = *size, "bgra"
        stream.codec_context.time_base = MILLISECOND
        stream.options = {"quality": str(WEBP_QUALITY)}
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.asarray(frame.convert("RGBA")), format="rgba")
            picture = picture.reformat(format="bgra")
            picture.pts, picture.time_base = round(number / fps / MILLISECOND), MILLISECOND
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _opaque(frame: Image.Image) -> Image.Image:
    return on_white(frame) if frame.mode == "RGBA" else frame.convert("RGB")
