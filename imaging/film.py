"""Films of pictures: mp4, gif or webp by the ending of the file, or a folder of numbered PNG files.

A file appears whole or not at all; frames are taken one by one, so that no film has to fit in memory unless its
format wants it (webp).
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from imaging.atomic import replacing
from imaging.grid import save_image
from imaging.transforms import on_white

ENDINGS = (".mp4", ".gif", ".webp")
QUALITY = 16  # constant rate factor of x264: near what the eye cannot tell from the original


def check_film(path: Path, flag: str) -> None:
    """Makes sure, before anything is computed, that `path` can be written as a film.

    Raises:
        ValueError: when its ending is none of a film, or nothing here writes mp4; `flag` is the option to name.
    """
    if path.suffix.lower() not in ("", *ENDINGS):
        raise ValueError(
            f"{flag} {path}: a film ends in {', '.join(ENDINGS)}, or is a folder of frames whose name has no ending"
        )
    if path.suffix.lower() == ".mp4":
        try:
            import av  # noqa: F401
        except ImportError as error:
            raise ValueError(f"{flag} {path}: writing mp4 needs PyAV: pip install av, or take .gif or .webp") from error


def write_film(path: Path, frames: Iterable[Image.Image], fps: float = 30.0) -> int:
    """Writes a film and returns the number of its frames.

    Args:
        path: `film.mp4`, `film.gif` (256 colours), `film.webp` (lossless), or a folder for `frame000000.png`, ...
        frames: pictures of one size, at least one; transparent ones are laid on white in an mp4.
        fps: pictures a second. A gif knows hundredths of a second only, so at most 50.

    Raises:
        ValueError: when there are no frames, or as `check_film`.
    """
    check_film(path, "film")
    pictures = iter(frames)
    first = next(pictures, None)
    if first is None:
        raise ValueError(f"{path}: a film needs at least one frame")
    counter = _Counter(chain([first], pictures))
    if not path.suffix:
        for number, frame in enumerate(counter):
            save_image(frame, path / f"frame{number:06d}.png")
        return counter.count
    with replacing(path) as file:
        if path.suffix.lower() == ".mp4":
            _write_mp4(file, counter, first.size, fps)
        else:
            _write_animation(file, counter, path.suffix.lower(), fps)
    return counter.count


class _Counter:
    """Iterates, and remembers how many there were."""

    def __init__(self, frames: Iterable[Image.Image]) -> None:
        self.count, self._frames = 0, frames

    def __iter__(self) -> Iterator[Image.Image]:
        for frame in self._frames:
            self.count += 1
            yield frame


def _write_mp4(file: IO[bytes], frames: Iterable[Image.Image], size: tuple[int, int], fps: float) -> None:
    """H.264 with colours at half the resolution, which every player shows; it wants even sides."""
    import av  # takes a quarter of a second, which only films of this kind shall wait for

    width, height = size
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        stream.options = {"crf": str(QUALITY)}
        for frame in frames:
            pixels = np.asarray(_opaque(frame))  # [H, W, 3]
            pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def _write_animation(file: IO[bytes], frames: Iterable[Image.Image], ending: str, fps: float) -> None:
    pictures = iter(frames)
    first = next(pictures)
    options = {"lossless": True, "method": 2} if ending == ".webp" else {"disposal": 2, "optimize": False}
    first.save(
        file,
        format=ending[1:].upper(),
        save_all=True,
        append_images=pictures,
        duration=round(1000 / fps),
        loop=0,
        **options,
    )


def _opaque(frame: Image.Image) -> Image.Image:
    return on_white(frame) if frame.mode == "RGBA" else frame.convert("RGB")
