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

LONGEST_SIDE = {".mp4": 16384, ".gif": 65535, ".webp": 16383, "": 2**31 - 1}  # pixels; of x264 and of the formats
HIGHEST_FPS = {".mp4": 240, ".gif": 50, ".webp": 240, "": 240}  # viewers slow a faster gif down to 10
CODECS: dict[str, tuple[str, str, dict[str, str], dict[str, str]]] = {  # codec, pixels, its options, the file's
    # H.264 with colors at half the resolution, which every player shows. 16 is hardly any visible loss. The index is
    # moved to the front at the end, so that a browser can start early.
    ".mp4": ("libx264", "yuv420p", {"crf": "16"}, {"movflags": "+faststart"}),
    ".webp": ("libwebp_anim", "bgra", {"quality": "90"}, {"loop": "0"}),
}
MILLISECOND = Fraction(1, 1000)
FRAME = "frame{:06d}.png"
BT709 = 1  # in FFmpeg's lists of primaries, transfer curves and matrices


def check_film(path: Path, flag: str, size: tuple[int, int] | None = None) -> None:
    """Raise ValueError, with the option `flag`, if `path` cannot be a film of frames of `size` (width, height)."""
    ending = path.suffix.lower()
    if ending not in LONGEST_SIDE:
        known = ", ".join(filter(None, LONGEST_SIDE))
        raise ValueError(f"{flag} {path}: expected a film ({known}), or a folder of frames whose name has no ending")
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
    size, clear, ending, count = first.size, first.mode == "RGBA", path.suffix.lower(), 0
    check_film(path, "film", size)
    check_rate(path, "fps", fps)

    def film() -> Iterator[Image.Image]:
        nonlocal count
        for frame in chain([first], pictures):
            if frame.size != size:
                raise ValueError(
                    f"{path}: frame {count} has {frame.width}x{frame.height} pixels, but the first one has "
                    f"{size[0]}x{size[1]}: give frames of one size"
                )
            count += 1
            yield frame

    if not ending:
        with beside(path) as shed, replacing(path, previous=shed / "old") as new:
            for number, frame in enumerate(film()):
                save_image(frame, new / FRAME.format(number))
        return count
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_replacing(path) as file:
        if ending == ".gif":
            with beside(path) as folder:
                write_gif(file, (_colored(frame, clear) for frame in film()), fps, folder)
        else:
            _write_video(file, ending, film(), size, fps)
    return count


def _write_video(
    file: IO[bytes], ending: str, frames: Iterable[Image.Image], size: tuple[int, int], fps: float
) -> None:
    """Write an mp4, whose sides become even, or a webp.

    The colors of an mp4 are marked as those of high-definition television: otherwise players guess by the size.
    """
    import av  # takes a quarter of a second

    codec, kind, quality, options = CODECS[ending]
    clear, odd = ending == ".webp", [(0, 0) if ending == ".webp" else (0, side % 2) for side in reversed(size)]
    with av.open(file.name, "w", format=ending[1:], options=options) as container:
        stream: Any = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = size[0] + odd[1][1], size[1] + odd[0][1], kind
        stream.options, context = quality, stream.codec_context
        colors: dict[str, str] = {}
        if clear:
            context.time_base = MILLISECOND
        else:
            context.color_primaries = context.color_trc = context.colorspace = BT709
            context.color_range = av.video.reformatter.ColorRange.MPEG
            colors = {"dst_colorspace": "ITU709", "src_color_range": "JPEG", "dst_color_range": "MPEG"}
        for number, frame in enumerate(frames):
            pixels = np.pad(np.asarray(_colored(frame, clear)), [*odd, (0, 0)], mode="edge")  # [H, W, 3 or 4]
            picture = av.VideoFrame.from_ndarray(pixels, format="rgba" if clear else "rgb24")
            picture = picture.reformat(format=kind, **colors)
            picture.pts = round(number / fps / MILLISECOND) if clear else number
            if clear:
                picture.time_base = MILLISECOND
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _colored(frame: Image.Image, clear: bool) -> Image.Image:
    """The frame in RGBA if `clear`; otherwise in RGB, on white."""
    return frame.convert("RGBA") if clear else on_white(frame) if frame.mode == "RGBA" else frame.convert("RGB")
