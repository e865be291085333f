"""Films: mp4, gif or webp by the ending of the file, or a folder of numbered PNG files.

A gif has one palette for the whole film, and a dither that stands still: a palette for each frame would make flat areas
flicker, and error diffusion would make them boil. The color of a pixel depends on nothing but the pixel and its place:
pattern dithering (Knoll 1999) takes the few palette colors that together come nearest, in turns by Bayer's matrix.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

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
LOOK_AT = 2**16  # pixels of the whole film that choose the palette
CANDIDATES = 4  # colors that take turns
CLEAR = 255  # index of transparent pixels
OPAQUE_FROM = 128  # alpha; a GIF knows nothing between opaque and transparent
BRIGHTNESS = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of red, green and blue (BT.709)


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


def write_film(path: Path, frames: Iterable[Image.Image], fps: float = 30.0, sound: Path | None = None) -> int:
    """Write a film, atomically, and return the number of its frames. Frames are taken one by one.

    `path` is `film.mp4` (transparent frames are laid on white), `film.gif` (256 colors), `film.webp`, or a folder for
    `frame000000.png`, ... An mp4 gets the `sound` of another video, unchanged. An existing film is replaced, a folder
    only if it holds nothing but frames. ValueError if there are no frames (gray, RGB or RGBA), if their sizes differ,
    or as `check_film` and `check_rate`.
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
                _write_gif(file, (_colored(frame, clear) for frame in film()), fps, folder)
        else:
            _write_video(file, ending, film(), size, fps, sound)
    return count


def _write_video(
    file: IO[bytes], ending: str, frames: Iterable[Image.Image], size: tuple[int, int], fps: float, sound: Path | None
) -> None:
    """Write an mp4, whose sides become even, or a webp.

    The colors of an mp4 are marked as those of high-definition television: otherwise players guess by the size.
    """
    import av  # takes a quarter of a second

    codec, kind, quality, options = CODECS[ending]
    clear, odd = ending == ".webp", [(0, 0) if ending == ".webp" else (0, side % 2) for side in reversed(size)]
    with ExitStack() as stack:
        container = stack.enter_context(av.open(file.name, "w", format=ending[1:], options=options))
        source: Any = stack.enter_context(_heard(sound)) if sound else None
        heard = source.streams.audio[0] if source and source.streams.audio and not clear else None
        copied = container.add_stream_from_template(heard) if heard else None
        stream: Any = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = size[0] + odd[1][1], size[1] + odd[0][1], kind
        stream.options, context = quality, stream.codec_context
        colors: dict[str, Any] = {}
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
        for packet in source.demux(heard) if heard else ():
            if packet.dts is not None:
                packet.stream = copied
                container.mux(packet)


def _heard(video: Path) -> Any:
    import av

    return av.open(f"file:{video.absolute()}", options={"protocol_whitelist": "file"})


def _colored(frame: Image.Image, clear: bool) -> Image.Image:
    """The frame in RGBA if `clear`; otherwise in RGB, on white."""
    return frame.convert("RGBA") if clear else on_white(frame) if frame.mode == "RGBA" else frame.convert("RGB")


def _write_gif(file: IO[bytes], frames: Iterable[Image.Image], fps: float, folder: Path) -> None:
    """Write a film of RGB or RGBA frames that repeats for ever; less than half opaque pixels become transparent.

    The format counts hundredths of a second; rounding errors do not add up. Frames must be seen twice, for the palette
    and to be written, and are kept in `folder` meanwhile.
    """
    paths = []
    for number, frame in enumerate(frames):
        paths.append(folder / f"{number}.png")
        frame.save(paths[-1], compress_level=1)
    clear = _pixels(paths[0]).shape[-1] == 4
    palette = Palette(_colors(paths, CLEAR if clear else 256))
    pictures = (_indexed(_pixels(path), palette) for path in paths)
    ends = [round(number * 100 / fps) for number in range(len(paths) + 1)]
    durations = [10 * (end - start) for start, end in pairwise(ends)]
    more = {"transparency": CLEAR, "disposal": 2} if clear else {}
    next(pictures).save(
        file, "GIF", save_all=True, append_images=pictures, duration=durations, loop=0, optimize=False, **more
    )


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as frame:
        return np.asarray(frame)


def _indexed(pixels: np.ndarray, palette: "Palette") -> Image.Image:
    indices = palette.indices(pixels[:, :, :3])
    if pixels.shape[2] == 4:
        indices[pixels[:, :, 3] < OPAQUE_FROM] = CLEAR
    picture = Image.fromarray(indices, "P")
    picture.putpalette(palette.colors.astype(np.uint8).tobytes().ljust(768, b"\0"))
    return picture


class Palette:
    """Up to 256 colors [P, 3], 0 .. 255, and how they stand for all others."""

    def __init__(self, colors: np.ndarray) -> None:
        self.colors = colors.astype(np.float32)
        self._brightness = self.colors @ BRIGHTNESS
        self._nearest = self._table()

    def indices(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] -> the number of each pixel's color, uint8 [H, W]."""
        height, width, _ = pixels.shape
        goal = pixels.astype(np.float32)
        owed = np.zeros_like(goal)
        candidates = np.empty([CANDIDATES, height, width], np.uint8)
        for candidate in candidates:
            red, green, blue = np.moveaxis(np.clip(goal + owed, 0, 255).astype(np.uint8) >> 2, -1, 0)
            candidate[:] = self._nearest[red, green, blue]
            owed += goal - self.colors[candidate]
        order = np.argsort(self._brightness[candidates], axis=0, kind="stable")
        bayer = np.zeros([1, 1], int)
        for _ in range(3):
            bayer = np.block([[4 * bayer, 4 * bayer + 2], [4 * bayer + 3, 4 * bayer + 1]])
        turns = np.tile(bayer, (-(-height // 8), -(-width // 8)))[None, :height, :width] * CANDIDATES // 64
        return np.take_along_axis(candidates, np.take_along_axis(order, turns, axis=0), axis=0)[0]

    def _table(self) -> np.ndarray:
        """uint8 [64, 64, 64]: the color nearest to each red, green and blue, in steps of four levels."""
        steps = np.arange(64, dtype=np.float32) * 4 + 1.5
        half_square = (self.colors**2).sum(axis=1) / 2  # |p|^2 / 2 - p c is least where |p - c|^2 is
        red, green, blue = (half_square / 3 - steps[:, None] * self.colors[:, i] for i in range(3))  # [64, P] each
        table = np.stack([np.argmin((part + green)[:, None] + blue, axis=-1) for part in red]).astype(np.uint8)
        own = self.colors.astype(np.uint8) >> 2
        table[own[:, 0], own[:, 1], own[:, 2]] = np.arange(len(own))
        return table


def _colors(paths: Sequence[Path], count: int) -> np.ndarray:
    """[at most `count`, 3]: k-means of opaque pixels from all over the film."""
    draws, each, some = np.random.default_rng(0), max(1, LOOK_AT // len(paths)), [np.zeros([0, 3], np.uint8)]
    for path in paths[:: -(-len(paths) // LOOK_AT)]:
        pixels = _pixels(path)
        pixels = pixels.reshape(-1, pixels.shape[2])
        if len(pixels) > each:
            pixels = pixels[draws.integers(len(pixels), size=each)]
        some.append(pixels[pixels[:, 3] >= OPAQUE_FROM, :3] if pixels.shape[1] == 4 else pixels)
    seen = np.concatenate(some)
    seen = seen if len(seen) else np.zeros([1, 3], np.uint8)  # all transparent
    # Until less than a hundredth of the pixels changes its color.
    found = Image.fromarray(seen[None]).quantize(count, Image.Quantize.MEDIANCUT, kmeans=max(1, len(seen) // 100))
    return np.asarray(found.getpalette(), np.uint8).reshape(-1, 3)[:count]
