"""Pictures of any size and kind, converted to the size and channels of a network for projection."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from imaging.filenames import SOURCE_KINDS, SOURCE_SUFFIXES, UNREAD, conversion_of, ending
from imaging.opening import LARGEST_FILE, open_file
from imaging.picture import decode, read_header, read_range, span_of
from imaging.pixels import MODES, from_pil
from imaging.sizes import spell
from imaging.sources.archives import ArchiveSource
from imaging.transforms import NAMES, center_crop_resize, is_opaque, on_white, to_mode
from models.stylegan2.config import GeneratorConfig


@dataclass(frozen=True)
class Target:
    """A picture to be projected: its name, its pixels uint8 [C, H, W], and how it was changed, in words."""

    name: str
    pixels: Tensor
    changes: tuple[str, ...]


def read_targets(
    places: Sequence[str], config: GeneratorConfig, tell: Callable[[str], None] = lambda text: None
) -> list[Target]:
    """The pictures that --target names, in its order; those of a folder or ZIP by name.

    Args:
        places: each a file, a folder, a ZIP, or several with commas.
        config: of the network, whose size and channels they get.
        tell: called with a sentence about files in a folder or ZIP that are skipped.

    Raises:
        FileNotFoundError, ValueError: if a file is missing or no picture.
    """
    paths = [path for place in places for path in _split(place)]
    if not paths:
        raise ValueError("--target names no picture: give a file, a folder or a ZIP")
    return [_fit(content, name, config) for path in paths for name, content in _contents(path, tell)]


def _split(place: str) -> list[Path]:
    """The path itself if it exists, else the parts between commas."""
    if Path(place).exists():
        return [Path(place)]
    return [Path(part.strip()) for part in place.split(",") if part.strip()]


def _contents(path: Path, tell: Callable[[str], None]) -> Iterator[tuple[str, bytes]]:
    if not path.exists():
        raise FileNotFoundError(f"--target {path}: there is no such picture or folder; check the path")
    if path.is_dir() or path.suffix.lower() == ".zip":
        source = ArchiveSource(path)
        for note in source.notes:
            tell(f"--target {path}: {note}")
        yield from ((str(path / name), source.read(i)) for i, name in enumerate(source.names))
    elif ending(path.name) in SOURCE_SUFFIXES:
        with open_file(path) as file:
            yield str(path), file.read(LARGEST_FILE)
    elif ending(path.name) in UNREAD:
        advice = conversion_of(ending(path.name))
        raise ValueError(f"--target {path} is a picture of a kind that is not read: {advice}")
    else:
        raise ValueError(f"--target {path} is no picture: give one ({SOURCE_KINDS}), or a folder or ZIP of them")


def _fit(content: bytes, name: str, config: GeneratorConfig) -> Target:
    """The center of the picture, in the network's size and channels."""
    header = read_header(io.BytesIO(content), name)
    wanted, changes = MODES[config.channels], []
    span = span_of([read_range(io.BytesIO(content), name)]) if header.deep else None
    if span and (looked := span.note(many=False)):
        changes.append(looked)
    image = decode(io.BytesIO(content), name, header.mode, (config.height, config.width), span)
    if image.mode == "RGBA" and wanted != "RGBA":
        if not is_opaque(image):
            changes.append("laid on white where it is transparent")
        image = on_white(image)
    if image.mode != wanted:
        changes.append(f"{NAMES[image.mode]} made {NAMES[wanted]}")
    size = (config.width, config.height)
    if image.size != size:
        width, height = header.width, header.height  # a large JPEG is decoded at a smaller size
        done = "its middle cut out and " if width * size[1] != height * size[0] else ""
        way = "enlarged" if width < size[0] or height < size[1] else "reduced"
        changes.append(f"{done}{way} from {spell(height, width)} to {spell(*reversed(size))}")
    image = center_crop_resize(to_mode(image, wanted), *size)
    return Target(name, torch.from_numpy(from_pil(image)), tuple(changes))
