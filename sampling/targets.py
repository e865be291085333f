"""Pictures of any size and kind made ready for projection: of the size and the channels of a network."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from imaging.picture import SOURCE_SUFFIXES, decode, read_header
from imaging.pixels import MODES, from_pil
from imaging.sizes import spell
from imaging.sources.archives import open_pictures
from imaging.transforms import NAMES, center_crop_resize, is_opaque, on_white, to_mode
from models.stylegan2.config import GeneratorConfig


@dataclass(frozen=True)
class Target:
    """A picture to be projected: what it is called, its pixels uint8 [C, H, W], and what was done to it, in words."""

    name: str
    pixels: Tensor
    changes: tuple[str, ...]


def read_targets(places: Sequence[str], config: GeneratorConfig) -> list[Target]:
    """The pictures that --target names, in its order; of a folder or ZIP in the order of names.

    Args:
        places: each a file, a folder, a ZIP, or several with commas.
        config: of the network whose size and channels they shall have.

    Raises:
        FileNotFoundError, ValueError: when one is not there or is no picture.
    """
    paths = [path for place in places for path in _split(place)]
    if not paths:
        raise ValueError("--target names no picture: give a file, a folder or a ZIP")
    return [_fit(content, name, config) for path in paths for name, content in _contents(path)]


def _split(place: str) -> list[Path]:
    """A path as it is if there is something, else what stands between commas."""
    if Path(place).exists():
        return [Path(place)]
    return [Path(part.strip()) for part in place.split(",") if part.strip()]


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    if not path.exists():
        raise FileNotFoundError(f"--target {path}: there is no such picture or folder; check the path")
    if path.is_dir() or path.suffix.lower() == ".zip":
        source = open_pictures(path)
        yield from ((str(path / name), source.read(i)) for i, name in enumerate(source.names))
    elif path.suffix.lower() in SOURCE_SUFFIXES:
        yield str(path), path.read_bytes()
    else:
        raise ValueError(f"--target {path}: a picture ends in {', '.join(SOURCE_SUFFIXES)}; or give a folder or ZIP")


def _fit(content: bytes, name: str, config: GeneratorConfig) -> Target:
    """The middle of the picture, in the network's size and kind."""
    header = read_header(io.BytesIO(content), name)
    image, wanted, changes = decode(io.BytesIO(content), name, header.mode), MODES[config.channels], []
    if image.mode == "RGBA" and wanted != "RGBA":
        if not is_opaque(image):
            changes.append("laid on white where it is transparent")
        image = on_white(image)
    if image.mode != wanted:
        changes.append(f"{NAMES[image.mode]} made {NAMES[wanted]}")
    size = (config.width, config.height)
    if image.size != size:
        cut = image.width * size[1] != image.height * size[0]
        done = "its middle cut out and " if cut else ""
        way = "enlarged" if image.width < size[0] or image.height < size[1] else "reduced"
        changes.append(f"{done}{way} from {spell(image.height, image.width)} to {spell(*reversed(size))}")
    image = center_crop_resize(to_mode(image, wanted), *size)
    return Target(name, torch.from_numpy(from_pil(image)), tuple(changes))
