"""Pictures to restyle, their styles and masks: read from disk, checked, and written."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from imaging.opening import open_file
from imaging.picture import decode, read_header
from imaging.sizes import spell
from imaging.sources.video import SUFFIXES, VideoSource

LARGEST = 100_000_000  # pixels of a content or style
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".avif", ".jp2")


class Picture(NamedTuple):
    """A picture as networks take it."""

    name: str  # of its file, without the ending
    colors: Tensor  # [1, 3, H, W] in [0, 1]
    opacity: Image.Image | None  # of an RGBA picture, which is kept

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.colors.shape[-2], self.colors.shape[-1]


def is_video(text: str, film: bool) -> bool:
    """Whether --content names a video; an animated GIF is one where a film is asked for."""
    return Path(text).suffix.lower() in (*SUFFIXES, *([".gif"] if film else [])) and not Path(text).is_dir()


def frames_of(video: Path) -> tuple[int, Iterator[Picture]]:
    """The number of frames of a video, and the frames."""
    if not video.is_file():
        raise FileNotFoundError(f"--content {video}: there is no such file")
    source = VideoSource(video)
    count = len(source.names)
    return count, (of_image(video.stem, frame()) for frame in islice(source.part(0), count))


def listed(text: str, option: str) -> list[Path]:
    """The files that an option names: a picture, several with commas, or all pictures of a folder, by name.

    Raises FileNotFoundError or ValueError for one that is not there, and for a folder without pictures.
    """
    whole = Path(text)
    parts = [whole] if whole.exists() else [Path(part.strip()) for part in text.split(",")]
    found: list[Path] = []
    for path in parts:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in ENDINGS and p.is_file())
            if not inside:
                raise ValueError(f"{option} {path} is a folder without pictures: name one that has some")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise FileNotFoundError(f"{option} {path}: there is no such file or folder")
    return found


def read(path: Path, option: str) -> Picture:
    """A picture, upright, in RGB; gray and CMYK ones, and those of 16 bits, are converted.

    Raises ValueError if it is no picture, or too large.
    """
    what = f"{option} {path}"
    with open_file(path) as file:
        header = read_header(file, what)
        if header.width * header.height > LARGEST:
            size = f"{spell(header.height, header.width)} = {header.width * header.height / 1e6:.0f} megapixels"
            raise ValueError(f"{what} has {size}, more than {LARGEST // 10**6}: make it smaller")
        file.seek(0)
        image = decode(file, what, "RGBA" if header.mode == "RGBA" else "RGB", srgb=True)
    return of_image(path.stem, image)


def of_image(name: str, image: Image.Image) -> Picture:
    """An image of mode RGB or RGBA."""
    opacity = image.getchannel("A") if image.mode == "RGBA" else None
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    return Picture(name, (pixels.float() / 255)[None], opacity)


@lru_cache(maxsize=1)  # the frames of a film share a mask
def read_regions(path: Path, size: tuple[int, int], styles: int, feather: float) -> list[Tensor]:
    """The masks of the regions of a picture, each [1, 1, H, W] in [0, 1]: one for each gray level, dark to light.

    Args:
        path: a picture in which every region has a gray level or color of its own.
        size: (height, width) of the content.
        styles: how many there are; as many regions are allowed.
        feather: radius in pixels over which edges are blended.

    Raises:
        ValueError: it has another size than the content, or other than `styles` regions.
    """
    what = f"--mask {path}"
    with open_file(path) as file:
        image = decode(file, what, "RGB")
    if (image.height, image.width) != size:
        raise ValueError(f"{what} has {spell(image.height, image.width)} pixels, but the content {spell(*size)}")
    values = np.asarray(image).astype(np.int64) @ (1, 256, 65536)  # a number for each color
    levels = np.unique(values)
    if len(levels) != styles:
        raise ValueError(
            f"{what} has {len(levels)} regions (gray levels), but --style names {styles}: give one style for each"
        )
    light = {level: np.asarray(image.convert("L"))[values == level][0] for level in levels}
    masks = []
    for level in sorted(levels, key=lambda level: (light[level], level)):
        mask = Image.fromarray(((values == level) * 255).astype(np.uint8))
        mask = mask.filter(ImageFilter.GaussianBlur(feather / 2)) if feather else mask
        masks.append(torch.from_numpy(np.asarray(mask).astype(np.float32) / 255)[None, None])
    total = torch.stack(masks).sum(0).clamp(min=1e-6)
    return [mask / total for mask in masks]


def parse_shares(text: str, count: int, option: str, of: str, most: float = float("inf")) -> list[float]:
    """Numbers with commas, one for each of `count` things. Raises ValueError for others, or outside 0 to `most`."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} {text}: expected numbers with commas, such as 0.7,0.3") from None
    if len(found) != count or any(not 0 <= value <= most or value == float("inf") for value in found):
        size = "of 0 or more" if most == float("inf") else f"from 0 to {most:g}"
        raise ValueError(f"{option} {text}: expected {count} numbers {size}, one for each of the {of}")
    return found


def to_image(made: Tensor, opacity: Image.Image | None) -> Image.Image:
    """[1, 3, H, W] in [0, 1], clamped -> a picture of 8 bits, with its opacity."""
    pixels = (made[0].clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    image = Image.fromarray(pixels)
    if opacity is not None:
        image.putalpha(opacity)
    return image


def names_of(paths: Sequence[Path]) -> str:
    """The names of several styles as one: a+b."""
    return "+".join(path.stem for path in paths)
